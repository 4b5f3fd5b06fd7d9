"""The job of the engine `spark` by PipesDatabricksClient, from a scoring's rows to its loaded predictions."""

import sys
from pathlib import Path

import pytest

from onnx_pipeline.base.errors import ClusterError
from onnx_pipeline.engines import open_engine
from onnx_pipeline.engines.base import PoolEngine
from onnx_pipeline.models import RuntimeOptions
from onnx_pipeline.scoring.landing import land, survey
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline_tests.faults.spark_ward import SparkWard
from onnx_pipeline_tests.faults.ward import WARDS, ignore

SUBMIT = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("imitated_databricks.py"))]


@pytest.fixture
def ward(project_home: Path) -> SparkWard:
    ward = SparkWard(project_home)
    ward.build()
    return ward


def plan_of(ward: SparkWard) -> ScoringPlan:
    spec = ward.spec("replace").model_copy(update={"engine": {"kind": "spark", "submit": SUBMIT}})
    plan = ward.plan("replace", "first")
    return ScoringPlan(type(spec).model_validate(spec.model_dump()), plan.model, ward.pool.source(spec))


def test_a_scoring_by_a_job_of_databricks(
    ward: SparkWard, spark_settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    plan, said = plan_of(ward), []
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions(), said.append)
    assert isinstance(engine, PoolEngine)
    pool, staging, key = ward.pool, ward.staging, WARDS[0]
    list(survey(plan, pool, staging, [key]))
    land(Marks(plan, pool), engine, staging, key, say=ignore)
    engine.close()
    list(load(plan, pool, staging, [key], run_id="run-1"))
    # What the job says comes by Pipes' messages, and so by Dagster's log of the process that submitted it.
    (told,) = [line for line in said if "parts are written" in line and "databricks_job" in line]
    assert f"of {ward.rows:,} rows" in told
    assert any("Databricks run 17" in line and "TERMINATED" in line for line in said)
    found = ward.query("SELECT count(*), count(DISTINCT visit_id) FROM scores_replace")
    assert found == [(ward.rows, ward.rows)]
    scores = ward.query("SELECT score FROM scores_replace ORDER BY visit_id")
    assert [row[0] for row in scores] == pytest.approx(ward.expected("first")[: ward.rows].tolist(), rel=1e-5, abs=1e-6)


@pytest.mark.nightly
def test_a_job_that_fails_loads_nothing(
    ward: SparkWard, spark_settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master nowhere pyspark-shell")
    plan, said = plan_of(ward), []
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions(), said.append)
    pool, staging, key = ward.pool, ward.staging, WARDS[0]
    list(survey(plan, pool, staging, [key]))
    with pytest.raises(ClusterError, match="ended with 1, so nothing was kept"):
        land(Marks(plan, pool), engine, staging, key, say=ignore)
    engine.close()
    assert ward.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scores_replace'") == [(0,)]
