"""What the checks look at, what they stop, and that each partition has its own result."""

from pathlib import Path

import dagster as dg
import pytest

from onnx_pipeline.base.errors import PredictionError, StagingError
from onnx_pipeline.orchestration.checks import check_specs
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, linear_model

CHECKS = {
    "features": ["null_rate", "rows_outside_partitions"],
    "predictions": ["no_missing_predictions", "distribution"],
    "pool_predictions": ["row_count"],
}


def test_each_asset_has_its_checks_and_only_those_that_stop_are_blocking(make_spec: MakeSpec) -> None:
    found = {
        asset: {check.name: check.blocking for check in check_specs(make_spec(), asset)}
        for asset in ("model", "features", "predictions", "pool_predictions")
    }
    assert found == {
        "model": {"signature": True},
        "features": {"null_rate": False, "rows_outside_partitions": False},
        "predictions": {"no_missing_predictions": True, "distribution": False},
        "pool_predictions": {"row_count": True},
    }
    spec = make_spec(checks={"blocking": ["null_rate", "psi"], "nan_predictions": "allow"})
    blocking = {check.name: check.blocking for asset in CHECKS for check in check_specs(spec, asset)}
    assert blocking["null_rate"] and blocking["distribution"] and not blocking["no_missing_predictions"]


def test_every_check_of_a_good_range_passes_once_per_partition(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    result = runner.run(make_spec(checks={"psi": 5.0}), first=DAYS[0], last=DAYS[2])
    assert result.success
    for name in ("null_rate", "no_missing_predictions", "distribution", "row_count"):
        found = runner.checks(result, name)
        assert {key: evaluation.passed for key, evaluation in found.items()} == dict.fromkeys(DAYS[:3], True), name
    for name in ("signature", "rows_outside_partitions"):
        (evaluation,) = runner.checks(result, name).values()
        assert evaluation.passed and evaluation.partition is None


def test_row_counts_of_both_sides_are_shown(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    found = runner.checks(runner.run(make_spec(), partition=DAYS[0]), "row_count")[DAYS[0]]
    assert {name: value.value for name, value in found.metadata.items()} == dict.fromkeys(
        ("in the partition", "staged", "loaded", "in the pool"), 50
    )


def test_a_column_that_no_input_reads_leaves_the_signature_failed_and_no_model(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute("ALTER TABLE visits DROP COLUMN b")
    result = runner.run(make_spec(), partition=DAYS[0])
    (evaluation,) = runner.checks(result, "signature").values()
    assert not evaluation.passed and evaluation.blocking
    assert "'b'" in str(evaluation.description)
    assert runner.materialized(result, "model") == {}


def test_too_many_nulls_warn_with_the_columns_rate_and_do_not_stop(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    spec = make_spec(checks={"null_rate": 0.3, "nan_predictions": "allow"})
    result = runner.run(spec, first=DAYS[0], last=DAYS[1])
    assert result.success
    found = runner.checks(result, "null_rate")
    assert found[DAYS[0]].passed and not found[DAYS[1]].passed
    assert found[DAYS[1]].severity == dg.AssetCheckSeverity.WARN
    assert found[DAYS[1]].description == "NULL or NaN in more than 30% of the rows: b 40.0%"
    assert found[DAYS[1]].metadata["highest"].value == pytest.approx(0.4)


def test_too_many_nulls_stop_the_load_where_the_spec_says_so(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(checks={"null_rate": 0.3, "blocking": ["null_rate"], "nan_predictions": "allow"})
    assert runner.run(spec, partition=DAYS[1]).success
    before = project.target(), project.log()
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    result = runner.run(spec, partition=DAYS[1])
    assert "NULL or NaN in more than 30% of the rows: b 40.0%. Nothing was scored." in runner.failure(result)
    evaluation = runner.checks(result, "null_rate")[DAYS[1]]
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR and evaluation.blocking
    for asset in CHECKS:
        assert runner.materialized(result, asset) == {}
    assert (project.target(), project.log()) == before


def test_rows_of_no_partition_are_counted(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.execute("UPDATE visits SET day = NULL WHERE id < 3")
    project.execute("UPDATE visits SET day = DATE '2025-06-01' WHERE id IN (3, 4)")
    result = runner.run(make_spec(), partition=DAYS[0])
    assert result.success
    (evaluation,) = runner.checks(result, "rows_outside_partitions").values()
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["unplaced"].value == 3
    assert evaluation.metadata["before_first_partition"].value == 2
    why = "5 rows have no partition, and are never scored: 3 with NULL in the partition column, 2 before the first"
    assert why in str(evaluation.description)
    project.assert_scored("day = '2026-01-01'")


def test_rows_before_the_first_partition_alone_fail_the_check(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    # 2026-01-01 is a Thursday of the week that begins on 2025-12-28, and `until` a Saturday of the one after it.
    partitions = {"column": "day", "every": "week", "start": "2026-01-01", "until": "2026-01-10"}
    spec = make_spec(partitions=partitions, rescore="all")
    project.execute("UPDATE visits SET day = DATE '2025-12-27' WHERE id < 2")
    project.execute("UPDATE visits SET day = DATE '2025-12-28' WHERE id IN (2, 3)")
    result = runner.run(spec, first="2025-12-28", last="2026-01-04")
    (evaluation,) = runner.checks(result, "rows_outside_partitions").values()
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN
    figures = {name: evaluation.metadata[name].value for name in ("before_first_partition", "after_until", "unplaced")}
    assert figures == {"before_first_partition": 2, "after_until": 0, "unplaced": 0}
    project.assert_scored("day BETWEEN '2025-12-28' AND '2026-01-10'")
    project.execute("UPDATE visits SET day = DATE '2026-01-10' WHERE id = 0")
    project.execute("UPDATE visits SET day = DATE '2026-01-11' WHERE id = 1")
    result = runner.run(spec, partition="2026-01-04")
    (evaluation,) = runner.checks(result, "rows_outside_partitions").values()
    assert "1 row has no partition, and is never scored: 1 on or after `until`" in str(evaluation.description)
    assert evaluation.metadata["after_until"].value == 1


def test_rows_that_are_late_pass_the_check_and_are_told(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.execute("UPDATE visits SET day = DATE '9000-01-01' WHERE id < 7")
    result = runner.run(make_spec(), partition=DAYS[0])
    (evaluation,) = runner.checks(result, "rows_outside_partitions").values()
    assert evaluation.passed and evaluation.metadata["after_last_partition"].value == 7
    assert "7 more come after the last partition that can be scored now." in str(evaluation.description)


@pytest.mark.parametrize("value", ["'NaN'::FLOAT", "'Infinity'::FLOAT", "NULL"])
def test_predictions_that_are_no_numbers_stop_the_load(
    value: str, project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, partition=DAYS[0]).success
    before = project.target(), project.log()
    project.execute(f"UPDATE visits SET a = {value} WHERE id IN (7, 9)")
    result = runner.run(spec, partition=DAYS[0])
    message = runner.failure(result)
    assert "predictions are NULL, NaN or infinite: score in 2 of 50 rows" in message
    assert "checks: {nan_predictions: allow}" in message
    evaluation = runner.checks(result, "no_missing_predictions")[DAYS[0]]
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["score"].value == 2
    assert runner.materialized(result, "predictions") == {}
    assert (project.target(), project.log()) == before


@pytest.mark.parametrize("value", ["'NaN'::FLOAT", "'-Infinity'::FLOAT", "NULL"])
def test_predictions_that_are_no_numbers_are_loaded_as_null_where_the_spec_allows(
    value: str, project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute(f"UPDATE visits SET a = {value} WHERE id IN (7, 9)")
    result = runner.run(make_spec(checks={"nan_predictions": "allow"}), partition=DAYS[0])
    assert result.success
    evaluation = runner.checks(result, "no_missing_predictions")[DAYS[0]]
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN
    found = project.target()
    assert {row for row, values in found.items() if values[0] is None} == {7, 9}
    assert len(found) == 50


def test_a_refused_slice_of_a_range_is_told_and_the_others_are_loaded(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute("UPDATE visits SET a = 'NaN'::FLOAT WHERE id = 60")
    result = runner.run(make_spec(), first=DAYS[0], last=DAYS[2])
    assert "partition '2026-01-02': predictions are" in runner.failure(result)
    found = runner.checks(result, "no_missing_predictions")
    assert {key: row.passed for key, row in found.items()} == {DAYS[0]: True, DAYS[1]: False, DAYS[2]: True}
    assert found[DAYS[1]].severity == dg.AssetCheckSeverity.ERROR
    project.assert_scored("day IN ('2026-01-01', '2026-01-03')")
    assert set(project.log()) == {DAYS[0], DAYS[2]}
    shown = runner.materialized(result, "predictions")
    assert "predictions are NULL, NaN or infinite" in str(shown[DAYS[1]]["refused"].value)
    assert set(runner.materialized(result, "pool_predictions")) == {DAYS[0], DAYS[2]}


def test_a_load_that_fails_within_a_range_records_the_partitions_that_it_did_load(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    # Two rows of the second day have one key: found by the pool, after the first day was committed.
    project.execute("UPDATE visits SET id = 61 WHERE id = 60")
    result = runner.run(make_spec(), first=DAYS[0], last=DAYS[2])
    assert runner.failure(result).startswith("KeyColumnError: visits, partition '2026-01-02'")
    project.assert_scored("day IN ('2026-01-01', '2026-01-03')")
    shown = runner.materialized(result, "pool_predictions")
    assert set(shown) == {DAYS[0], DAYS[2]}
    assert shown[DAYS[0]]["dagster/partition_row_count"].value == 50
    assert {key: row.passed for key, row in runner.checks(result, "row_count").items()} == dict.fromkeys(shown, True)


def test_a_row_count_that_differs_rolls_the_slice_back(
    project: Project, make_spec: MakeSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.pools.duckdb.load import Statements

    spec = make_spec()
    assert runner.run(spec, partition=DAYS[0]).success
    before = project.target(), project.log()

    counted = Statements.scalar
    monkeypatch.setattr(Statements, "scalar", lambda self, statement: counted(self, statement) - 1)
    result = runner.run(spec, partition=DAYS[0])
    assert "50 loaded and 49 counted in visits_scored. Nothing was changed" in runner.failure(result)
    evaluation = runner.checks(result, "row_count")[DAYS[0]]
    assert not evaluation.passed and evaluation.blocking
    assert runner.materialized(result, "pool_predictions") == {}
    assert (project.target(), project.log()) == before


def test_the_first_partition_has_nothing_to_be_compared_with(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    found = runner.checks(runner.run(make_spec(), partition=DAYS[0]), "distribution")[DAYS[0]]
    assert found.passed
    assert "Nothing that was scored before to compare with" in str(found.description)


@pytest.mark.parametrize(
    ("partitions", "keys"),
    [
        ({"column": "kind", "values": ["x", "y"]}, ("x", "y")),
        ({"buckets": 2}, ("bucket_0", "bucket_1")),
        (None, ("all",)),
    ],
)
def test_partitions_without_order_are_compared_with_their_own_last_run(
    project: Project, make_spec: MakeSpec, runner: Runner, partitions: dict[str, object] | None, keys: tuple[str, ...]
) -> None:
    # The kinds differ by far, which is no shift of either.
    project.execute("UPDATE visits SET a = a + 50 WHERE kind = 'y'")
    spec = make_spec(partitions=partitions, checks={"psi": 1.0})

    def run() -> list[tuple[bool, str]]:
        over = {"first": keys[0], "last": keys[-1]} if partitions else {}
        result = runner.run(spec, **over)
        assert result.success
        found = runner.checks(result, "distribution")
        return [(each.passed, str(each.description)) for each in found.values()]

    assert run() == [(True, "Nothing that was scored before to compare with.")] * len(keys)
    again = run()
    assert [passed for passed, _ in again] == [True] * len(keys)
    assert all(text.startswith("As in its last run: population stability index score 0.000") for _, text in again)
    project.execute("UPDATE visits SET a = a - 500")
    shifted = run()
    assert [passed for passed, _ in shifted] == [False] * len(keys)
    assert all(text.startswith("shifted against its last run") for _, text in shifted)


def test_a_shift_within_one_range_warns_and_loads(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    project.execute("UPDATE visits SET a = a + 5 WHERE day = '2026-01-02'")
    result = runner.run(make_spec(checks={"psi": 1.0}), first=DAYS[0], last=DAYS[1])
    assert result.success
    found = runner.checks(result, "distribution")
    assert found[DAYS[0]].passed and not found[DAYS[1]].passed
    assert found[DAYS[1]].severity == dg.AssetCheckSeverity.WARN
    assert "shifted against '2026-01-01'" in str(found[DAYS[1]].description)
    assert float(str(found[DAYS[1]].metadata["score"].value)) > 1.0
    project.assert_scored("day <= '2026-01-02'")


def test_a_shift_against_the_scoring_log_stops_the_load_where_the_spec_says_so(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(checks={"psi": 1.0, "blocking": ["psi"]})
    assert runner.run(spec, partition=DAYS[0]).success
    project.execute("UPDATE visits SET a = a + 5 WHERE day = '2026-01-02'")
    result = runner.run(spec, partition=DAYS[1])
    message = runner.failure(result)
    assert "partition '2026-01-02': predictions shifted against '2026-01-01'" in message
    assert "Nothing was loaded. If the shift is real, raise `checks: {psi: ...}`" in message
    evaluation = runner.checks(result, "distribution")[DAYS[1]]
    assert not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    project.assert_scored("day = '2026-01-01'")


def test_the_same_distribution_as_the_scoring_log_passes(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec()
    project.fill(DAYS[:2], rows=2000)
    assert runner.run(spec, partition=DAYS[0]).success
    found = runner.checks(runner.run(spec, partition=DAYS[1]), "distribution")[DAYS[1]]
    assert found.passed
    assert "As in '2026-01-01'" in str(found.description)


def test_a_new_model_of_another_scale_shows_as_a_shift(project: Project, make_spec: MakeSpec, runner: Runner) -> None:
    spec = make_spec(checks={"psi": 1.0})
    assert runner.run(spec, partition=DAYS[0]).success
    project.put_model(linear_model(bias=50.0))
    assert not runner.checks(runner.run(spec, partition=DAYS[1]), "distribution")[DAYS[1]].passed


NULLS_BLOCK = {"null_rate": 0.3, "blocking": ["null_rate"], "nan_predictions": "allow"}


def test_a_refused_slice_cannot_be_scored_by_the_next_asset_alone(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(checks=NULLS_BLOCK)
    assert runner.run(spec, partition=DAYS[1]).success
    before = project.target(), project.log()
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    assert not runner.run(spec, partition=DAYS[1], only=["features"]).success
    # Neither what was refused nor what an earlier run had staged is scored or loaded, in whatever order.
    for only in (["predictions"], ["pool_predictions"], ["predictions", "pool_predictions"], ["pool_predictions"]):
        message = runner.failure(runner.run(spec, partition=DAYS[1], only=only))
        assert message.startswith("StagingError") and "b 40.0%" in message and "Materialize" in message
    assert (project.target(), project.log()) == before
    project.execute("UPDATE visits SET b = 0 WHERE id BETWEEN 50 AND 69")
    assert runner.run(spec, partition=DAYS[1]).success
    project.assert_scored("day = '2026-01-02'")


def test_refused_predictions_are_not_loaded_by_the_next_asset_alone(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec()
    assert runner.run(spec, partition=DAYS[0]).success
    before = project.target(), project.log()
    project.execute("UPDATE visits SET a = 'NaN'::FLOAT WHERE id = 7")
    assert not runner.run(spec, partition=DAYS[0], only=["features", "predictions"]).success
    message = runner.failure(runner.run(spec, partition=DAYS[0], only=["pool_predictions"]))
    assert message.startswith("StagingError") and "score in 1 of 50 rows" in message
    assert (project.target(), project.log()) == before


def test_a_slice_refused_for_its_nulls_leaves_the_others_of_the_run_to_be_loaded(
    project: Project, make_spec: MakeSpec, runner: Runner
) -> None:
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    result = runner.run(make_spec(checks=NULLS_BLOCK), first=DAYS[0], last=DAYS[2])
    assert "2026-01-02" in runner.failure(result) and "b 40.0%" in runner.failure(result)
    project.assert_scored("day IN ('2026-01-01', '2026-01-03')")
    found = runner.checks(result, "null_rate")
    assert {key: row.passed for key, row in found.items()} == {DAYS[0]: True, DAYS[1]: False, DAYS[2]: True}
    assert set(runner.materialized(result, "pool_predictions")) == {DAYS[0], DAYS[2]}


def test_who_scores_without_dagster_is_protected_too(project: Project, make_spec: MakeSpec, tmp_path: Path) -> None:
    from onnx_pipeline.engines import open_stream
    from onnx_pipeline.models.onnx_model import OnnxModel
    from onnx_pipeline.models.runtime import RuntimeOptions
    from onnx_pipeline.scoring.extract import extract
    from onnx_pipeline.scoring.load import load
    from onnx_pipeline.scoring.plan import ScoringPlan
    from onnx_pipeline.scoring.slices import predict_slices
    from onnx_pipeline.scoring.staging import Staging

    project.execute("UPDATE visits SET a = 'NaN'::FLOAT WHERE id = 60")
    spec, staging = make_spec(), Staging(tmp_path / "staging")
    plan = ScoringPlan(spec, OnnxModel.load(project.model_file), project.pool.source(spec))
    list(extract(plan, project.pool, staging, DAYS[:3], say=print))
    engine = open_stream(spec.engine, plan.task, RuntimeOptions())
    predicting = predict_slices(plan, engine, project.pool, staging, DAYS[:3], say=print)
    scored = [next(predicting).partition_key, next(predicting).partition_key]
    assert scored == [DAYS[0], DAYS[2]]
    with pytest.raises(PredictionError, match="score in 1 of 50 rows"):
        next(predicting)
    with pytest.raises(StagingError, match="since the partition was refused"):
        list(load(plan, project.pool, staging, DAYS[:3], run_id="by hand"))
    list(load(plan, project.pool, staging, scored, run_id="by hand"))
    project.assert_scored("day IN ('2026-01-01', '2026-01-03')")
