"""The engines of SQL Server and Synapse through the four assets, on the imitations of these servers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_pipeline.engines.predict import probe
from onnx_pipeline.orchestration import resources
from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner, linear_truth
from onnx_pipeline_tests.engines.conftest import (  # noqa: F401 - fixtures
    extension,
    ground_of_engine,
    library,
    onnx_language,
    servers_python,
)
from onnx_pipeline_tests.pools.grounds import ImitatedGround

ENGINES = ("external_language", "external_python", "predict")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ground(
    engine: str, project: Project, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ImitatedGround:
    """The project's visits on the server of an engine, which is what the project's URL opens."""
    found = ground_of_engine(engine, tmp_path, request)
    assert isinstance(found, ImitatedGround)
    with project.pool.connect("copying the visits") as connection:
        found.store("visits", connection.sql("FROM visits").to_arrow_table())
    monkeypatch.setattr(resources, "open_pool", lambda url: found.pool)
    monkeypatch.setattr(probe, "_answers", set())
    return found


def scored(ground: ImitatedGround) -> dict[int, tuple[Any, ...]]:
    found = {row[0]: row[1:] for row in ground.query("SELECT id, score, partition_key, run_id FROM visits_scored")}
    assert len(found) == ground.query("SELECT COUNT(*) FROM visits_scored")[0][0]
    return found


def assert_scored(ground: ImitatedGround, where: str) -> None:
    rows = ground.query(f"SELECT id, a, b FROM visits WHERE {where} ORDER BY id")
    ids, a, b = zip(*rows, strict=True)
    found = scored(ground)
    assert found.keys() == set(ids)
    np.testing.assert_allclose([found[row][0] for row in ids], linear_truth(a, b), rtol=1e-5, atol=1e-6)


def test_a_range_is_scored_on_the_server_and_a_rerun_swaps_its_partition_alone(
    engine: str, ground: ImitatedGround, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(engine={"kind": engine}, checks={"psi": 5.0})
    result = runner.run(spec, first=DAYS[0], last=DAYS[2])
    assert result.success
    assert_scored(ground, "day <= '2026-01-03'")
    for name in ("null_rate", "no_missing_predictions", "distribution", "row_count"):
        found = runner.checks(result, name)
        assert {key: row.passed for key, row in found.items()} == dict.fromkeys(DAYS[:3], True), name
    predictions = runner.materialized(result, "predictions")[DAYS[0]]
    assert predictions["dagster/partition_row_count"].value == 50
    assert "data:image/svg+xml" in predictions["histogram_score"].value
    first = scored(ground)

    ground.server.rows("UPDATE visits SET a = a + 1 WHERE id = 60")
    assert runner.run(spec, partition=DAYS[1]).success
    assert_scored(ground, "day <= '2026-01-03'")
    changed = {row[1] for place, row in scored(ground).items() if row != first[place]}
    assert changed == {DAYS[1]}
    assert not [name for name in ground.tables() if name.startswith(("onnx_landing", "onnx_staging"))]


def test_the_models_page_says_that_the_engine_runs_it_on_this_pool(
    engine: str, ground: ImitatedGround, make_spec: MakeSpec, runner: Runner
) -> None:
    spec = make_spec(engine={"kind": engine})
    (metadata,) = runner.materialized(runner.run(spec, partition=DAYS[0]), "model").values()
    (row,) = [line for line in str(metadata["engines"].value).splitlines() if line.startswith(f"| {engine} |")]
    assert row.startswith(f"| {engine} | yes |")


def test_a_partition_that_a_check_refuses_is_kept_out_and_the_others_are_loaded(
    engine: str, ground: ImitatedGround, make_spec: MakeSpec, runner: Runner
) -> None:
    ground.server.rows("UPDATE visits SET b = NULL WHERE id BETWEEN 50 AND 69")
    spec = make_spec(
        engine={"kind": engine}, checks={"null_rate": 0.3, "blocking": ["null_rate"], "nan_predictions": "allow"}
    )
    result = runner.run(spec, first=DAYS[0], last=DAYS[2])
    assert "b 40.0%" in runner.failure(result)
    assert_scored(ground, "day IN ('2026-01-01', '2026-01-03')")
