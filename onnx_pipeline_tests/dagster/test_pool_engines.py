"""An engine that scores in the pool, through the four assets: rows stay there, and everything means what it means."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from onnx_pipeline.engines.sql import graph
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.scoring.validation import Level, validate
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, linear_model

CHECKS = ("null_rate", "no_missing_predictions", "distribution", "row_count")


@pytest.fixture
def in_pool(project: Project, make_spec: MakeSpec) -> Any:
    """The scoring `visits`, whose model is 2·a + b, by the engine `sql`."""
    project.put_model(linear_model(weights=(2.0, 1.0), bias=0.0))

    def make(**attributes: Any) -> Any:
        return make_spec(**{"engine": {"kind": "sql"}, **attributes})

    return make


def assert_scored(project: Project, where: str) -> None:
    expected = dict(project.execute(f"SELECT id, 2 * a + b FROM visits WHERE {where}"))
    found = project.target()
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[row][0] for row in expected], list(expected.values()), rtol=1e-5, atol=1e-6)


def staged_files(project: Project) -> set[str]:
    return {file.suffix for file in Path(project.home).rglob("staging/**/*") if file.is_file()}


def test_a_range_is_scored_in_the_pool_and_shows_what_any_engine_shows(
    project: Project, in_pool: Any, runner: Runner
) -> None:
    result = runner.run(in_pool(checks={"psi": 5.0}), first=DAYS[0], last=DAYS[2])
    assert result.success
    assert_scored(project, "day <= '2026-01-03'")
    for name in CHECKS:
        found = runner.checks(result, name)
        assert {key: row.passed for key, row in found.items()} == dict.fromkeys(DAYS[:3], True), name
    features = runner.materialized(result, "features")[DAYS[0]]
    assert features["dagster/partition_row_count"].value == 50 and "SELECT" in features["sql"].value
    predictions = runner.materialized(result, "predictions")[DAYS[0]]
    assert "data:image/svg+xml" in predictions["histogram_score"].value
    assert {key: row.rows for key, row in project.log().items()} == dict.fromkeys(DAYS[:3], 50)
    # No features lie on this machine; predictions lie in Parquet, as the database wrote them.
    assert staged_files(project) == {".json", ".parquet"}


def test_a_refused_slice_ends_and_the_others_are_loaded(project: Project, in_pool: Any, runner: Runner) -> None:
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    spec = in_pool(checks={"null_rate": 0.3, "blocking": ["null_rate"], "nan_predictions": "allow"})
    result = runner.run(spec, first=DAYS[0], last=DAYS[2])
    assert "NULL or NaN in more than 30% of the rows: b 40.0%" in runner.failure(result)
    assert_scored(project, "day IN ('2026-01-01', '2026-01-03')")
    for only in (["predictions"], ["pool_predictions"], ["predictions", "pool_predictions"]):
        message = runner.failure(runner.run(spec, partition=DAYS[1], only=only))
        assert message.startswith("StagingError") and "b 40.0%" in message
    assert set(project.log()) == {DAYS[0], DAYS[2]}


def test_predictions_are_judged_by_what_was_scored_and_not_by_what_was_looked_at(
    project: Project, in_pool: Any, runner: Runner
) -> None:
    spec = in_pool(checks={"null_rate": 0.3, "blocking": ["null_rate"], "nan_predictions": "allow"})
    assert runner.run(spec, partition=DAYS[1], only=["model", "features"]).success
    # Between the two assets most rows lose a value.
    project.execute("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 89")
    message = runner.failure(runner.run(spec, partition=DAYS[1], only=["predictions", "pool_predictions"]))
    assert "b 80.0%" in message
    assert "visits_scored" not in project.tables() or project.target() == {}


def test_a_row_that_changes_between_the_assets_is_logged_as_it_was_scored(
    project: Project, in_pool: Any, runner: Runner
) -> None:
    spec = in_pool()
    assert runner.run(spec, partition=DAYS[1], only=["model", "features"]).success
    project.execute("UPDATE visits SET a = a + 1, touched = '2026-03-01 00:00:00' WHERE id = 60")
    project.execute("INSERT INTO visits VALUES (9000, '2026-01-02', 'x', 1, 1, '2026-01-02 13:00:00')")
    result = runner.run(spec, partition=DAYS[1], only=["predictions", "pool_predictions"])
    assert result.success
    assert_scored(project, "day = '2026-01-02'")
    log = project.log()[DAYS[1]]
    assert (log.rows, log.fingerprint.rows) == (51, 51) and str(log.fingerprint.changed).startswith("2026-03-01")
    waiting = pending(spec, project.pool, partitioning(spec), None)
    assert DAYS[1] not in {piece.partition_key for piece in waiting}


def test_predictions_hold_the_pools_slot_where_they_are_made_in_the_pool(in_pool: Any) -> None:
    from onnx_pipeline.orchestration.assets.build import build_assets

    slots = {asset.key.path[-1]: asset.op.pool for asset in build_assets(in_pool())}
    assert None not in slots.values() and len(set(slots.values())) == 1


def test_an_engine_of_somebody_elses_package_scores_in_the_pool(
    project: Project, in_pool: Any, runner: Runner, outside: None
) -> None:
    assert runner.run(in_pool(engine={"kind": "house_sql"}), partition=DAYS[0]).success
    assert_scored(project, "day = '2026-01-01'")


def test_a_new_model_and_another_engine_score_again_what_they_have_to(
    project: Project, in_pool: Any, runner: Runner
) -> None:
    spec = in_pool(rescore="all")
    assert runner.run(spec, first=DAYS[0], last=DAYS[1]).success
    before = project.target()
    partitions = partitioning(spec)

    def waiting(**attributes: Any) -> list[str]:
        (sha256,) = {row.model_sha256 for row in project.log().values()}
        keys = {piece.partition_key for piece in pending(in_pool(**attributes), project.pool, partitions, sha256)}
        return sorted(keys & set(DAYS[:2]))

    # Both engines give the same, so a change between them is none of the settings.
    assert waiting(engine=None) == waiting() == []
    sha256 = project.put_model(linear_model(weights=(0.5, 1.0), bias=3.0))
    assert {piece.partition_key for piece in pending(spec, project.pool, partitions, sha256)} >= set(DAYS[:2])
    assert runner.run(spec, first=DAYS[0], last=DAYS[1]).success
    after = project.target()
    assert after.keys() == before.keys()
    assert {row[2] for row in after.values()} == {sha256}
    expected = dict(project.execute("SELECT id, 0.5 * a + b + 3 FROM visits WHERE day <= '2026-01-02'"))
    np.testing.assert_allclose([after[row][0] for row in expected], list(expected.values()), rtol=1e-5, atol=1e-6)


def test_a_model_that_has_no_form_in_sql_is_refused_with_the_engine_that_can_score_it(
    project: Project, in_pool: Any, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: place for name, place in graph.OPERATORS.items() if name != ("", "Concat")}
    monkeypatch.setattr(graph, "OPERATORS", known)
    spec = in_pool()
    project.put_model(linear_model(weights=(3.0, 7.0), bias=0.0))
    message = runner.failure(runner.run(spec, partition=DAYS[0]))
    assert "SpecError: visits: the engine `sql` cannot run this model, since Concat" in message
    assert "score it with `engine: {kind: onnxruntime}`, which runs every ONNX model. Nothing was scored." in message
    (found,) = [finding for finding in validate(spec, project.pool) if finding.about == "engine"]
    assert found.level is Level.FAILED and "`sql` cannot run this model, since Concat" in found.text
    assert runner.run(in_pool(engine=None), partition=DAYS[0]).success


def test_the_models_page_asks_every_engine_also_those_of_others(
    project: Project, in_pool: Any, runner: Runner, outside: None
) -> None:
    (metadata,) = runner.materialized(runner.run(in_pool(), partition=DAYS[0]), "model").values()
    engines = metadata["engines"]
    assert isinstance(engines, dg.MarkdownMetadataValue)
    assert "| house_sql | yes |" in str(engines.value) and "| onnxruntime | yes |" in str(engines.value)
    assert "| remote | yes | where a service has it |" in str(engines.value)
    offers = metadata["pool_offers"]
    assert isinstance(offers, dg.MarkdownMetadataValue)
    assert "| snapshot isolation | yes |" in str(offers.value)
