"""kill -9 of a process that repartitions, at any moment: the old table stands with its log, or the new one with its own."""

import time
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.repartition import Repartition, side_of
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.faults.ward import ROWS, WARDS, Ward, ignore, until

WAYS = {"wards": {"column": "ward", "values": list(WARDS)}, "buckets": {"buckets": 3}}
TARGET = "scores_replace"


def spec_of(ward: Ward, way: str) -> ScoringSpec:
    return ward.spec("replace").model_copy(update={"partitions": ScoringSpec(**ward.spec("replace").model_dump(
        include={"name", "onnx", "source", "key", "target"}), partitions=WAYS[way]).partitions})  # fmt: skip


def score(ward: Ward, spec: ScoringSpec, run_id: str) -> None:
    """Score what is pending into the spec's target."""
    plan = ScoringPlan(spec, OnnxModel.load(str(ward.model_file("first"))), ward.pool.source(spec))
    engine = open_engine(spec.engine, plan.task, RuntimeOptions())
    keys = [
        key
        for key in tuple(plan.partitioning.keys())
        if key not in ward.pool.scored(spec.scoring, spec.target_table).rows
    ]
    for piece in extract(plan, ward.pool, ward.staging, keys, say=ignore):
        predict(plan, engine, ward.staging, piece.partition_key, say=ignore)
    list(load(plan, ward.pool, ward.staging, keys, run_id=run_id))


def repartition(home: Path, way: str, run_id: str) -> None:
    """What a child process runs: touches `<run_id>.started` and `<run_id>.ended`."""
    ward = Ward(home)
    (home / f"{run_id}.started").touch()
    spec = spec_of(ward, way)
    plan = ScoringPlan(spec, OnnxModel.load(str(ward.model_file("first"))), ward.pool.source(spec))
    work = Repartition(plan, ward.pool, keep=False)
    if work.start() is not None:
        score(ward, side_of(spec), run_id)
        work.exchange()
    (home / f"{run_id}.ended").touch()


def way_that_stands(ward: Ward) -> str:
    """`wards` or `buckets`: every visit stands once, all by one way, and the log has these slices and no others."""
    rows = ward.query(f"SELECT partition_key, count(*), count(DISTINCT visit_id) FROM {TARGET} GROUP BY 1 ORDER BY 1")
    assert sum(row[1] for row in rows) == ROWS * len(WARDS)
    assert ward.query(f"SELECT count(DISTINCT visit_id) FROM {TARGET}") == [(ROWS * len(WARDS),)]
    logged = ward.query(f"SELECT partition_key, rows FROM onnx_scoring_log WHERE target = 'main.{TARGET}' ORDER BY 1")
    assert [row[:2] for row in rows] == logged
    keys = {row[0] for row in rows}
    assert keys in (set(WARDS), {f"bucket_{index}" for index in range(3)})
    return "wards" if keys == set(WARDS) else "buckets"


@pytest.mark.parametrize("moments", [3, pytest.param(12, marks=(pytest.mark.nightly, pytest.mark.timeout(900)))])
def test_a_repartition_killed_at_any_moment_leaves_the_old_table_or_the_new_one(
    ward: Ward, processes: BaseContext, moments: int
) -> None:
    score(ward, spec_of(ward, "wards"), "before")
    stands, seconds, killed, old = way_that_stands(ward), 0.0, 0, 0
    for moment in range(moments + 1):
        to, run_id = ("buckets", "wards")[moment % 2], f"run-{moment}"
        process = processes.Process(target=repartition, args=(ward.home, to, run_id))  # type: ignore[attr-defined]
        process.start()
        until((ward.home / f"{run_id}.started").exists)
        started = time.monotonic()
        if moment:
            time.sleep(seconds * moment / moments)
            process.kill()
        process.join()
        seconds = seconds or time.monotonic() - started
        killed += not (ward.home / f"{run_id}.ended").exists()
        now = way_that_stands(ward)
        assert now in (stands, to)
        old += now == stands
        repartition(ward.home, to, f"{run_id}-again")
        stands = way_that_stands(ward)
        assert stands == to
        tables = ward.query("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%repartition%'")
        assert tables == [], "the table beside is gone"
    assert killed >= moments // 2, "most runs ended before they were killed"
    assert old, "none was killed before its exchange"
