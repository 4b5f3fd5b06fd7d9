"""What the four assets do and show, partition by partition."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import numpy as np
import onnxruntime as ort
import pytest

from onnx_pipeline.base.errors import PartitionError
from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.build import build_assets
from onnx_pipeline.orchestration.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, requested_partitions
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, linear_model

SLICED = ("features", "predictions", "pool_predictions")


def test_one_partition_is_scored_and_the_others_are_left(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    assert runner.run(make_spec(), partition="2026-01-02").success
    project.assert_scored("day = '2026-01-02'")
    assert {row[1] for row in project.target().values()} == {"2026-01-02"}


def test_a_range_is_scored_in_one_run_with_each_partitions_own_numbers(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.fill(["2026-01-02"], rows=7)
    result = runner.run(make_spec(), first="2026-01-01", last="2026-01-03")
    assert result.success
    project.assert_scored("day <= '2026-01-03'")
    rows = {"2026-01-01": 50, "2026-01-02": 57, "2026-01-03": 50}
    for asset in SLICED:
        shown = runner.materialized(result, asset)
        assert {key: metadata["dagster/partition_row_count"].value for key, metadata in shown.items()} == rows
    assert {key: row.rows for key, row in project.log().items()} == rows


def test_a_table_without_partitions_is_one_slice(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    result = runner.run(make_spec(partitions=None))
    assert result.success
    project.assert_scored()
    (metadata,) = runner.materialized(result, "pool_predictions").values()
    assert metadata["dagster/row_count"].value == 200
    assert set(project.log()) == {"all"}


def test_listed_values_are_partitions(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec(partitions={"column": "kind", "values": ["x", "y"]})
    assert runner.run(spec, partition="x").success
    project.assert_scored("kind = 'x'")
    assert runner.run(spec, first="x", last="y").success
    project.assert_scored()


def test_hash_buckets_hold_every_row_once(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec(partitions={"buckets": 3})
    assert runner.run(spec, first="bucket_0", last="bucket_2").success
    project.assert_scored()
    assert {row[1] for row in project.target().values()} == {"bucket_0", "bucket_1", "bucket_2"}


def test_predictions_equal_those_of_plain_onnx_runtime(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    assert runner.run(make_spec(), first=DAYS[0], last=DAYS[-1]).success
    ids, a, b = zip(*project.execute("SELECT id, a, b FROM visits ORDER BY id"), strict=True)
    session = ort.InferenceSession(project.model_file.read_bytes(), providers=["CPUExecutionProvider"])
    feeds = {"a": np.array(a, np.float32)[:, None], "b": np.array(b, np.float32)[:, None]}
    (scores,) = session.run(["score"], feeds)
    found = project.target()
    np.testing.assert_array_equal(np.array([found[row][0] for row in ids], np.float32), scores[:, 0])


def test_scoring_a_partition_again_replaces_its_rows(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec()
    assert runner.run(spec, partition="2026-01-01").success
    project.execute("DELETE FROM visits WHERE id < 5")
    project.execute("UPDATE visits SET a = a + 1 WHERE day = '2026-01-01'")
    result = runner.run(spec, partition="2026-01-01")
    project.assert_scored("day = '2026-01-01'")
    metadata = runner.materialized(result, "pool_predictions")["2026-01-01"]
    assert (metadata["rows_replaced"].value, metadata["rows_inserted"].value) == (50, 45)


def test_the_model_asset_shows_the_artifact_and_takes_its_sha256_as_version(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    result = runner.run(make_spec(), partition="2026-01-01")
    sha256 = hashlib.sha256(project.model_file.read_bytes()).hexdigest()
    (metadata,) = runner.materialized(result, "model").values()
    assert metadata["sha256"].value == sha256
    assert metadata["size_bytes"].value == project.model_file.stat().st_size
    assert "17" in str(metadata["opset"].value)
    assert re.search(r"score.*float", str(metadata["signature"].value))
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["visits", "model"])
    ]
    tags = event.step_materialization_data.materialization.tags
    assert tags is not None and tags["dagster/data_version"] == sha256
    assert {row[2] for row in project.target().values()} == {sha256}
    assert project.execute("SELECT name, sha256, model FROM onnx_models") == [
        ("visits", sha256, project.model_file.read_bytes())
    ]


def test_features_show_null_rates_statement_schema_and_lineage(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute("UPDATE visits SET b = NULL WHERE id < 5")
    spec = make_spec(checks={"nan_predictions": "allow"})
    shown = runner.materialized(runner.run(spec, first=DAYS[0], last=DAYS[1]), "features")
    assert "| b | 5 | 10.00% |" in shown["2026-01-01"]["null_rates"].value
    assert shown["2026-01-02"]["null_rates"].value == "no NULLs"
    for metadata in shown.values():
        assert metadata["bytes"].value > 0
        assert "visits" in metadata["sql"].value and "touched" in metadata["sql"].value
    assert "dagster/column_schema" not in shown["2026-01-01"]
    schema = shown["2026-01-02"]["dagster/column_schema"].value
    assert [(column.name, column.type) for column in schema.columns] == [
        ("id", "int64"), ("a", "float"), ("b", "float"),
    ]  # fmt: skip
    lineage = shown["2026-01-02"]["dagster/column_lineage"].value.deps_by_column
    assert lineage["a"] == [dg.TableColumnDep(asset_key=dg.AssetKey("visits"), column_name="a")]


def test_a_lineage_of_hundreds_of_columns_is_bounded() -> None:
    features = [f"feature_{number}" for number in range(500)]
    outputs = {f"output_{number}": features for number in range(200)}
    lineage = show.column_lineage(dg.AssetKey(["visits", "features"]), {**outputs, "id": ["id"]})
    assert len(dg.serialize_value(lineage)) < 1_000_000
    assert [*lineage.deps_by_column] == [*(f"output_{number}" for number in range(9)), "id"]
    assert {dep.column_name for dep in lineage.deps_by_column["output_8"]} == set(features)


def test_predictions_show_statistics_and_a_histogram_picture(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    shown = runner.materialized(runner.run(make_spec(), first=DAYS[0], last=DAYS[1]), "predictions")
    pictures = set()
    for day in DAYS[:2]:
        values = list(project.expected(f"day = '{day}'").values())
        (row,) = [line for line in shown[day]["statistics"].value.splitlines() if line.startswith("| score ")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:3] == ["50", "0"]
        assert [float(cell) for cell in cells[3:7]] == pytest.approx(
            [np.mean(values), np.std(values), min(values), max(values)], rel=1e-4
        )
        found = re.search(r"\(data:image/svg\+xml;base64,([^)]+)\)", shown[day]["histogram_score"].value)
        assert found is not None
        picture = ET.fromstring(base64.b64decode(found.group(1)))
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if bar.get("fill") == "#4f43dd"]
        assert sum(float(bar.get("height", "0")) > 0 for bar in bars) >= 5
        pictures.add(found.group(1))
        assert shown[day]["batches"].value >= 1
    # What all partitions share of columns stands in the last event of the run.
    assert "dagster/column_lineage" not in shown[DAYS[0]]
    features = shown[DAYS[1]]["dagster/column_lineage"].value.deps_by_column["score"]
    assert [(dep.asset_key.path, dep.column_name) for dep in features] == [
        (["visits", "features"], "a"), (["visits", "features"], "b"),
    ]  # fmt: skip
    assert len(pictures) == 2, "each partition has its own picture"


def test_pool_predictions_show_table_model_preview_schema_and_lineage(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    result = runner.run(make_spec(), first=DAYS[0], last=DAYS[1])
    shown = runner.materialized(result, "pool_predictions")
    sha256 = hashlib.sha256(project.model_file.read_bytes()).hexdigest()
    for metadata in shown.values():
        assert metadata["rows_inserted"].value == 50 and metadata["rows_replaced"].value == 0
        assert metadata["model_sha256"].value == sha256
    assert "dagster/column_schema" not in shown[DAYS[0]]
    last = shown[DAYS[1]]
    columns = {column.name: column.type for column in last["dagster/column_schema"].value.columns}
    assert list(columns) == ["id", "score", "partition_key", "model_sha256", "scored_at", "run_id"]
    lineage = last["dagster/column_lineage"].value.deps_by_column
    assert lineage["score"] == [
        dg.TableColumnDep(asset_key=dg.AssetKey(["visits", "predictions"]), column_name="score")
    ]
    # Of a range the last partition alone shows rows, its own.
    assert [key for key, metadata in shown.items() if "preview" in metadata] == [DAYS[1]]
    header, _, first, *_ = shown[DAYS[1]]["preview"].value.splitlines()
    assert header.startswith("| id | score | partition_key |")
    assert f"| {DAYS[1]} |" in first
    (asset,) = [asset for asset in build_assets(make_spec()) if asset.key.path[-1] == "pool_predictions"]
    assert asset.metadata_by_key[asset.key]["dagster/table_name"] == "visits_scored"


def test_a_partition_without_rows_succeeds_and_says_so(
    project: Project, make_spec: MakeSpec, runner: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    result = runner.run(make_spec(), partition="2026-01-20")
    assert result.success
    assert "partition '2026-01-20' has no rows" in capfd.readouterr().err
    for asset in SLICED:
        assert runner.materialized(result, asset)["2026-01-20"]["dagster/partition_row_count"].value == 0
    assert project.target() == {}
    assert project.log()["2026-01-20"].rows == 0


def test_rows_that_left_the_source_leave_the_target_down_to_the_last(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    assert runner.run(make_spec(), first=DAYS[0], last=DAYS[1]).success
    project.execute("DELETE FROM visits WHERE day = '2026-01-01'")
    assert runner.run(make_spec(), partition="2026-01-01").success
    project.assert_scored("day = '2026-01-02'")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"partition": "2025-12-31"}, "there is no partition '2025-12-31'; day partitions look like '2026-01-01'"),
        ({"first": "2026-01-03", "last": "2026-01-01"}, "from '2026-01-03' to '2026-01-01' holds no partition"),
        ({"first": "2025-12-30", "last": "2026-01-01"}, "there is no partition '2025-12-30'"),
        ({}, "visits is partitioned, and the run names no partition. Add --tags"),
    ],
)
def test_a_selection_that_cannot_be_meant_fails_and_writes_nothing(
    asked: dict[str, str], message: str, project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    result = runner.run(make_spec(), **asked)
    assert message in runner.failure(result)
    assert "visits_scored" not in project.tables()
    for asset in SLICED:
        assert runner.materialized(result, asset) == {}


@pytest.mark.parametrize("asked", [{"partition": "soon"}, {"first": "2026-01-01"}, {"last": "2026-01-01"}])
def test_dagster_itself_starts_no_run_for_a_malformed_selection(
    asked: dict[str, str], project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    with pytest.raises((ValueError, dg.DagsterInvariantViolationError), match="soon|without the other"):
        runner.run(make_spec(), **asked)
    assert "visits_scored" not in project.tables()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({RANGE_START_TAG: "2026-01-01"}, "the tag dagster/asset_partition_range_end is missing"),
        ({RANGE_END_TAG: "2026-01-01"}, "the tag dagster/asset_partition_range_start is missing"),
        ({PARTITION_TAG: "soon"}, "there is no partition 'soon'; day partitions look like '2026-01-01'"),
        ({PARTITION_TAG: "2026-13-77"}, "there is no partition '2026-13-77'"),
        ({RANGE_START_TAG: "2026-01-01", RANGE_END_TAG: "soon"}, "there is no partition 'soon'"),
    ],
)
def test_a_malformed_selection_that_dagster_lets_through_is_refused_by_the_asset(
    tags: dict[str, str], message: str, make_spec: MakeSpec
) -> None:
    context = SimpleNamespace(run=SimpleNamespace(tags=tags), partition_keys=[])
    with pytest.raises(PartitionError, match=re.escape(message)):
        requested_partitions(cast("Any", context), "visits", partitioning(make_spec()))


@pytest.mark.parametrize("asked", [{"partition": "2026-01-01"}, {"first": "2026-01-01", "last": "2026-01-02"}])
def test_partition_tags_on_a_table_without_partitions_fail(
    asked: dict[str, str], project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    message = runner.failure(runner.run(make_spec(partitions=None), **asked))
    assert message.startswith("PartitionError: visits has no partitions, and the run was asked for '2026-01-0")
    assert "visits_scored" not in project.tables()


def test_an_unknown_value_fails_with_the_nearest_one(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec(partitions={"column": "kind", "values": ["north", "south"]})
    assert "there is no partition 'nort'; did you mean 'north'?" in runner.failure(runner.run(spec, partition="nort"))


def test_an_asset_materialized_alone_uses_what_lies_in_staging(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, only=["model", "features"], partition="2026-01-01").success
    assert "visits_scored" not in project.tables()
    project.execute("UPDATE visits SET a = a + 100")
    assert runner.run(spec, only=["predictions"], partition="2026-01-01").success
    assert runner.run(spec, only=["pool_predictions"], partition="2026-01-01").success
    # What was staged, not what the source holds by now.
    project.execute("UPDATE visits SET a = a - 100")
    assert {key: row[1] for key, row in project.target().items()} == dict.fromkeys(range(50), "2026-01-01")


@pytest.mark.parametrize(
    ("asset", "together"), [("predictions", "features"), ("pool_predictions", "features and predictions")]
)
def test_an_asset_alone_says_what_is_missing_once_staging_is_swept(
    asset: str, together: str, project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, partition="2026-01-01").success
    for file in (project.home / "data" / "staging").glob("*/*/*/*"):
        file.unlink()
    before = project.target()
    message = runner.failure(runner.run(spec, only=[asset], partition="2026-01-01"))
    assert message.startswith("StagingError: visits: no ")
    assert f"Materialize {together} of visits for that partition" in message
    assert project.target() == before


def test_without_a_model_the_features_say_to_materialize_it(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    message = runner.failure(runner.run(make_spec(), only=["features"], partition="2026-01-01"))
    assert "no model was materialized yet. Materialize model of visits first" in message


def test_staged_features_of_another_model_are_refused(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    assert runner.run(make_spec(), partition="2026-01-01").success
    project.put_model(linear_model(dtype=11))
    assert runner.run(make_spec(), only=["model"]).success
    message = runner.failure(runner.run(make_spec(), only=["predictions"], partition="2026-01-01"))
    assert "were made for another model or spec" in message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("UPDATE visits SET id = 1 WHERE id = 0", "1 of its values occur more than once (1). Nothing was loaded"),
        ("UPDATE visits SET id = NULL WHERE id = 7", "key column 'id' is NULL in 1 of 50 rows"),
    ],
)
def test_a_key_that_does_not_identify_a_row_leaves_the_pool_as_it_was(
    fault: str, message: str, project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, partition="2026-01-01").success
    before = project.target(), project.log()
    project.execute(fault)
    result = runner.run(spec, partition="2026-01-01")
    assert runner.failure(result).startswith("KeyColumnError: ")
    assert message in runner.failure(result)
    assert runner.materialized(result, "pool_predictions") == {}
    assert (project.target(), project.log()) == before


def test_append_loads_a_slice_once_and_refuses_it_afterwards(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(load_mode="append")
    assert runner.run(spec, partition="2026-01-01").success
    message = runner.failure(runner.run(spec, partition="2026-01-01"))
    assert message.startswith("AlreadyLoadedError: ")
    project.assert_scored("day = '2026-01-01'")


def test_only_a_busy_pool_is_tried_again(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.base.errors import PoolBusyError
    from onnx_pipeline.pools.duckdb.pool import DuckDBPool

    ensure, calls = DuckDBPool.ensure_target, []

    def busy_twice(pool: DuckDBPool, target: Any, scoring: str | None = None) -> str:
        calls.append(target)
        if len(calls) < 3:
            raise PoolBusyError("somebody else has it.")
        return ensure(pool, target, scoring)

    monkeypatch.setattr(DuckDBPool, "ensure_target", busy_twice)
    result = runner.run(make_spec(), partition="2026-01-01")
    assert result.success
    assert len(calls) == 3
    retries = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert len(retries) == 2
    assert set(runner.materialized(result, "pool_predictions")) == {"2026-01-01"}
    project.assert_scored("day = '2026-01-01'")


def test_a_pool_that_stays_busy_fails_after_a_few_tries(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.base.errors import PoolBusyError
    from onnx_pipeline.pools.duckdb.pool import DuckDBPool

    calls = []

    def busy(pool: DuckDBPool, target: object, scoring: str | None = None) -> str:
        calls.append(target)
        raise PoolBusyError("somebody else has it.")

    monkeypatch.setattr(DuckDBPool, "ensure_target", busy)
    result = runner.run(make_spec(), partition="2026-01-01")
    assert "PoolBusyError: somebody else has it." in runner.failure(result)
    assert len(calls) == 4


def test_what_cannot_pass_on_its_own_is_not_tried_again(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.execute("UPDATE visits SET id = 1 WHERE id = 0")
    result = runner.run(make_spec(), partition="2026-01-01")
    assert not result.success
    assert not [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]


def test_the_source_is_asked_once_in_a_run(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    look = DuckDBPool.source

    def counted(pool: DuckDBPool, spec: ScoringSpec) -> Source:
        asked.append(spec.scoring)
        return look(pool, spec)

    monkeypatch.setattr(DuckDBPool, "source", counted)
    assert runner.run(make_spec(), first=DAYS[0], last=DAYS[2]).success
    assert asked == ["visits"]
    assert runner.run(make_spec(), partition=DAYS[0], only=["features", "predictions"]).success
    assert asked == ["visits", "visits"]


def test_what_works_in_the_pool_holds_its_slot(make_spec: MakeSpec) -> None:
    found = {asset.key.path[-1]: asset.op.pool for asset in build_assets(make_spec())}
    held = {asset for asset, slot in found.items() if slot is not None}
    # An engine that scores in this process asks the pool for a few rows of the log, and works for long without it.
    assert held == {"model", "features", "pool_predictions"}
    assert len({found[asset] for asset in held}) == 1
