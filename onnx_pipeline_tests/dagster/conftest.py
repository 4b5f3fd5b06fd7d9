"""Scorings of a small table with a small model, run by Dagster in this process."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
import pytest
import yaml
from onnx import helper, numpy_helper

from onnx_pipeline.orchestration.assets import step as assets
from onnx_pipeline.orchestration.assets.build import build_assets
from onnx_pipeline.orchestration.automation import build_automation
from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.orchestration.together import refuse_shared_targets, score_all_jobs, source_assets
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.records import LogRow
from onnx_pipeline.spec.scoring import ScoringSpec

SETTINGS = Path(__file__).parents[2] / "dagster.yaml"
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
WEIGHTS = (2.0, -0.5)
BIAS = 1.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Dagster says of each parameter in beta that it is; the settings below are a release's own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::dagster.BetaWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"))
            # Dagster's own reading of defs.yaml.
            item.add_marker(pytest.mark.filterwarnings("ignore:.*parse_obj_as.*:DeprecationWarning"))


def linear_model(
    weights: Sequence[float] = WEIGHTS, bias: float = BIAS, *, dtype: int = onnx.TensorProto.FLOAT
) -> bytes:
    """`score = a * weights[0] + b * weights[1] + bias`; inputs a and b are `[N, 1]`, the output is `[N, 1]`."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(name, dtype, ["N", 1]) for name in ("a", "b")],
        [helper.make_tensor_value_info("score", dtype, ["N", 1])],
        [
            numpy_helper.from_array(np.array([[w] for w in weights], kind), "w"),
            numpy_helper.from_array(np.array([bias], kind), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def linear_truth(a: Any, b: Any, weights: Sequence[float] = WEIGHTS, bias: float = BIAS) -> npt.NDArray[np.float32]:
    """What the model says, by numpy."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    truth: npt.NDArray[np.float32] = a * np.float32(weights[0]) + b * np.float32(weights[1]) + np.float32(bias)
    return truth


class Project:
    """One test's pool, model file and scoring."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.model_file = home / "linear.onnx"
        self.pool = DuckDBPool(home / "data" / "pool.duckdb", lock_timeout=20)

    def put_model(self, data: bytes) -> str:
        """Replace the model's file; its sha256."""
        self.model_file.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self.pool.connect("a test", create=True) as connection:
            return connection.execute(statement).fetchall()

    def fill(self, days: Sequence[str] = DAYS, rows: int = 50) -> None:
        """`rows` rows a day: id, day, kind, a, b, touched. Called again it adds rows."""
        self.execute(
            "CREATE TABLE IF NOT EXISTS visits (id BIGINT, day DATE, kind VARCHAR, a FLOAT, b FLOAT, touched TIMESTAMP)"
        )
        (count,) = self.execute("SELECT count(*) FROM visits")[0]
        generator = np.random.default_rng(count + 11)
        for day in days:
            ids = pa.array(np.arange(count, count + rows))
            table = pa.table(
                {
                    "id": ids,
                    "a": pa.array(generator.normal(size=rows).astype(np.float32)),
                    "b": pa.array(generator.normal(size=rows).astype(np.float32)),
                }
            )
            with self.pool.connect("a test") as connection:
                connection.register("fresh", table)
                connection.execute(
                    f"INSERT INTO visits SELECT id, DATE '{day}', CASE WHEN id % 3 = 0 THEN 'x' ELSE 'y' END, a, b, "
                    f"TIMESTAMP '{day} 12:00:00' FROM fresh"
                ).fetchall()
            count += rows

    def target(self, table: str = "visits_scored") -> dict[int, tuple[float | None, str, str]]:
        """id → score, partition_key, model_sha256."""
        rows = self.execute(f"SELECT id, score, partition_key, model_sha256 FROM {table}")
        found = {row[0]: row[1:] for row in rows}
        assert len(found) == len(rows), "an id occurs twice in the target"
        return found

    def tables(self) -> set[str]:
        return {row[0] for row in self.execute("SELECT table_name FROM information_schema.tables")}

    def log(self, scoring: str = "visits") -> dict[str, LogRow]:
        return self.pool.scoring_log(scoring)

    def expected(self, where: str = "true", **model: Any) -> dict[int, float]:
        """id → score, by numpy, from the source as it stands."""
        rows = self.execute(f"SELECT id, a, b FROM visits WHERE {where} ORDER BY id")
        if not rows:
            return {}
        ids, a, b = zip(*rows, strict=True)
        return dict(zip(ids, linear_truth(a, b, **model).tolist(), strict=True))

    def assert_scored(self, where: str = "true", **model: Any) -> None:
        """The target holds exactly the rows of the source that match, each with the right prediction."""
        expected, found = self.expected(where, **model), self.target()
        assert found.keys() == expected.keys()
        np.testing.assert_allclose([found[row][0] for row in expected], list(expected.values()), rtol=1e-5, atol=1e-6)


@pytest.fixture
def project(project_home: Path) -> Project:
    """Four days of 50 rows and the linear model."""
    project = Project(project_home)
    (project_home / "data").mkdir()
    project.put_model(linear_model())
    project.fill()
    return project


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "FIRST_WAIT_SECONDS", 0.0)


MakeSpec = Callable[..., ScoringSpec]


@pytest.fixture
def make_spec(project: Project) -> MakeSpec:
    """The scoring `visits`, by day, with other attributes where they are given."""

    def make(**attributes: Any) -> ScoringSpec:
        values: dict[str, Any] = {
            "name": "visits",
            "onnx": str(project.model_file),
            "source": {"table": "visits", "changed": "touched"},
            "key": ["id"],
            "partitions": {"column": "day", "every": "day", "start": "2026-01-01"},
            "target": "visits_scored",
            "directory": str(project.home),
        }
        values.update(attributes)
        values = {name: value for name, value in values.items() if value is not None}
        return ScoringSpec.model_validate(values)

    return make


def definitions(*specs: ScoringSpec) -> dg.Definitions:
    """What `onnx_pipeline.definitions` makes of these scorings."""
    parts = [dg.Definitions.merge(dg.Definitions(assets=build_assets(spec)), build_automation(spec)) for spec in specs]
    scorings = dg.Definitions.merge(*parts, dg.Definitions(resources=default_resources()))
    refuse_shared_targets(scorings)
    return dg.Definitions.merge(scorings, dg.Definitions(assets=source_assets(scorings), jobs=score_all_jobs(scorings)))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test's own in memory, with the project's settings; files take ten times as long."""
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path), settings=yaml.safe_load(SETTINGS.read_text())) as instance:
        yield instance


@pytest.fixture
def lasting_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """The same in files, for what other processes read too."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(SETTINGS.read_text())
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


class Runner:
    """Runs a job of some scorings in this process, and reads what Dagster recorded."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def run(
        self,
        *specs: ScoringSpec,
        job: str | None = None,
        only: Sequence[str] | None = None,
        partition: str | None = None,
        first: str | None = None,
        last: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        tags = dict(tags or {})
        for tag, value in (
            ("dagster/partition", partition),
            ("dagster/asset_partition_range_start", first),
            ("dagster/asset_partition_range_end", last),
        ):
            if value is not None:
                tags[tag] = value
        selection = [dg.AssetKey([specs[0].scoring, asset]) for asset in only] if only is not None else None
        return (
            definitions(*specs)
            .resolve_job_def(job or specs[0].scoring)
            .execute_in_process(instance=self.instance, tags=tags, asset_selection=selection, raise_on_error=False)
        )

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        """The message of the step that failed."""
        assert not result.success
        messages = [
            str(event.step_failure_data.user_failure_data.description)
            for event in result.all_events
            if event.is_step_failure and event.step_failure_data.user_failure_data is not None
        ]
        (message,) = messages
        return message

    def materialized(self, result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, Mapping[str, Any]]:
        """Metadata of a run's materializations of an asset, by partition."""
        found: dict[str | None, Mapping[str, Any]] = {}
        for event in result.get_asset_materialization_events():
            materialization = event.step_materialization_data.materialization
            if materialization.asset_key.path[-1] == asset:
                assert materialization.partition not in found, "recorded twice"
                found[materialization.partition] = materialization.metadata
        return found

    def checks(self, result: dg.ExecuteInProcessResult, name: str) -> dict[str | None, dg.AssetCheckEvaluation]:
        """A run's evaluations of a check in the instance's event log, by partition."""
        found: dict[str | None, dg.AssetCheckEvaluation] = {}
        records = self.instance.get_records_for_run(
            result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        for record in records:
            event = record.event_log_entry.dagster_event
            assert event is not None
            evaluation = event.event_specific_data
            assert isinstance(evaluation, dg.AssetCheckEvaluation)
            if evaluation.check_name == name:
                assert evaluation.partition not in found, "recorded twice"
                found[evaluation.partition] = evaluation
        return found


@pytest.fixture
def runner(instance: dg.DagsterInstance) -> Runner:
    return Runner(instance)
