"""kill -9 of a run of our own while its requests are under way, and of its service: half a slice is never in the pool."""

import multiprocessing
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline_tests.engines.conftest import Run, StartServer, remote, spec_of


def ignore(_: object) -> None:
    return


def run_in_a_process(pool: Path, staging: Path, model: Path, engine: dict[str, Any]) -> None:
    """What a child does: the whole scoring."""
    database, stage, spec = DuckDBPool(pool), Staging(staging), spec_of(engine)
    plan = ScoringPlan(spec, OnnxModel.load(model), database.source(spec))
    keys = list(plan.partitioning.keys())
    list(extract(plan, database, stage, keys, say=ignore))
    with closing(open_engine(spec.engine, plan.task, RuntimeOptions(), ignore)) as opened:
        for key in keys:
            predict(plan, opened, stage, key, say=ignore)
    list(load(plan, database, stage, keys, run_id="child"))


@pytest.mark.parametrize("answered", [5, *(pytest.param(n, marks=pytest.mark.nightly) for n in (0, 1, 9))])
def test_a_run_killed_while_its_requests_are_under_way_leaves_nothing_and_its_rerun_all(
    answered: int, start_server: StartServer, run: Run, project_home: Path, model_file: Path
) -> None:
    server = start_server(["none"] * answered, then="silent:600")
    folders = (project_home / "data" / "pool.duckdb", project_home / "data" / "staging", model_file)
    child = multiprocessing.get_context("spawn").Process(
        target=run_in_a_process, args=(*folders, remote(server.url, in_flight=1, request_seconds=600))
    )
    child.start()
    assert child.pid is not None
    while len(server.requests) <= answered:
        assert child.is_alive()
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    child.close()
    assert "scored" not in run.tables()
    run(remote(start_server().url))
    run.assert_all()


def test_a_run_killed_leaves_what_was_loaded_before(
    start_server: StartServer, run: Run, project_home: Path, model_file: Path
) -> None:
    run(remote(start_server().url))
    server = start_server(["none"] * 5, then="silent:600")
    folders = (project_home / "data" / "pool.duckdb", project_home / "data" / "staging", model_file)
    child = multiprocessing.get_context("spawn").Process(
        target=run_in_a_process, args=(*folders, remote(server.url, in_flight=3, request_seconds=600))
    )
    child.start()
    assert child.pid is not None
    while len(server.requests) < 8:
        assert child.is_alive()
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    child.close()
    run.assert_all()
    assert run.sql("SELECT DISTINCT run_id FROM scored") == [("run",)]
