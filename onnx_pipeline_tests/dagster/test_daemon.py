"""The whole of it once, with the daemon and the code server as other processes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from onnx_pipeline.cli.sample import create_sample
from onnx_pipeline.orchestration.automation import REASON_TAG, REQUESTED_BY_TAG, ROWS_EVERY_VARIABLE
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline_tests.dagster import processes
from onnx_pipeline_tests.dagster.processes import eventually

pytestmark = pytest.mark.daemon


@pytest.fixture
def dagster_home(tmp_path: Path) -> Path:
    return tmp_path / "dagster"


@pytest.fixture
def daemon(project_home: Path, dagster_home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """`dagster dev` on a free port, over one day of the sample; the environment that it runs in."""
    create_sample(days=1, rows_per_day=20, start="2026-01-01", keep=False)
    env = processes.environment(project_home, dagster_home) | {ROWS_EVERY_VARIABLE: "5"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Two processes that both make a new instance's tables trip over each other in Dagster's migrations.
    with processes.instance_in(dagster_home) as instance:
        assert not instance.all_instigator_state()
    with (tmp_path / "dagster_dev.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-m", "onnx_pipeline.definitions", "-h", "127.0.0.1", "-p", str(port)],
            cwd=project_home, env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield env
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def test_the_new_rows_sensor_scores_new_rows_and_then_changed_ones(
    daemon: dict[str, str], project_home: Path, dagster_home: Path
) -> None:
    pool = DuckDBPool(project_home / "data" / "pool.duckdb")
    command = ["dagster", "sensor", "start", "length_of_stay_new_rows", "-m", "onnx_pipeline.definitions"]
    done = processes.run(command, daemon)
    assert done.returncode == 0, done.stdout

    def finished(instance: dg.DagsterInstance, number: int) -> list[dg.DagsterRun]:
        ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
        runs = instance.get_runs(filters=dg.RunsFilter(job_name="length_of_stay", statuses=ended))
        return list(runs) if len(runs) >= number else []

    with processes.instance_in(dagster_home) as instance:
        (first,) = eventually(lambda: finished(instance, 1), "the run over the new rows")
        assert first.status == DagsterRunStatus.SUCCESS
        assert first.tags[REASON_TAG] == "never scored"
        assert first.tags[REQUESTED_BY_TAG] == "sensor length_of_stay_new_rows"
        with pool.connect("a test") as connection:
            rows = connection.execute("SELECT count(*) FROM length_of_stay_predictions").fetchall()
            assert rows == [(20,)]
            connection.execute("DELETE FROM encounters WHERE encounter_id % 2 = 0").fetchall()
        second = eventually(lambda: finished(instance, 2), "the run over the changed rows")[0]
        assert second.status == DagsterRunStatus.SUCCESS
        assert second.tags[REASON_TAG] == "source changed"
        with pool.connect("a test") as connection:
            assert connection.execute("SELECT count(*) FROM length_of_stay_predictions").fetchall() == [(10,)]
