"""Runs whose process died are ended, and their concurrency slots freed, by whoever comes next."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from onnx_pipeline.cli.sample import create_sample
from onnx_pipeline.orchestration.executor import PROCESS_TAG, end_dead_runs, process_tag
from onnx_pipeline.orchestration.resources import concurrency_pool, pool_url
from onnx_pipeline.orchestration.selection import PARTITION_TAG
from onnx_pipeline_tests.dagster import processes

_PROCESS = "import sys; from onnx_pipeline.orchestration.executor import process_tag; print(process_tag(), flush=True); sys.stdin.read()"


@pytest.fixture
def other_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits, and its tag."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=processes.ROOT
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def started_run(instance: dg.DagsterInstance, tag: str) -> dg.DagsterRun:
    """A run that works in the process of that tag and holds the slot of the database."""
    run = create_run_for_test(
        instance, job_name="length_of_stay", status=DagsterRunStatus.STARTED, tags={PROCESS_TAG: tag}
    )
    pool = concurrency_pool(pool_url())
    instance.event_log_storage.set_concurrency_slots(pool, 1)
    claim = instance.event_log_storage.claim_concurrency_slot(pool, run.run_id, "length_of_stay__features")
    assert claim.is_claimed
    return run


def slots_taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(concurrency_pool(pool_url())).active_slot_count


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_run_whose_process_was_killed_is_ended_and_its_slot_freed(
    instance: dg.DagsterInstance, other_process: tuple[subprocess.Popen[str], str]
) -> None:
    process, tag = other_process
    run = started_run(instance, tag)
    assert end_dead_runs(instance) == [], "a live run is left alone"
    assert status(instance, run) == DagsterRunStatus.STARTED and slots_taken(instance) == 1
    kill(process)
    assert end_dead_runs(instance) == [run.run_id]
    assert status(instance, run) == DagsterRunStatus.FAILURE and slots_taken(instance) == 0
    assert end_dead_runs(instance) == []


def test_a_later_process_of_the_same_number_is_not_the_runs_own(instance: dg.DagsterInstance) -> None:
    host, pid, created = process_tag().rsplit(":", 2)
    run = started_run(instance, f"{host}:{pid}:{float(created) - 3600:.2f}")
    assert end_dead_runs(instance) == [run.run_id]


def test_runs_of_this_process_of_another_host_and_of_other_projects_are_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    for tags in ({PROCESS_TAG: process_tag()}, {PROCESS_TAG: "elsewhere:1:0.00"}, {}):
        create_run_for_test(instance, job_name="length_of_stay", status=DagsterRunStatus.STARTED, tags=tags)
    assert end_dead_runs(instance) == []
    assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.STARTED}


def test_the_next_job_execute_does_not_wait_for_a_dead_run(
    project_home: Path, tmp_path: Path, other_process: tuple[subprocess.Popen[str], str]
) -> None:
    create_sample(days=1, rows_per_day=30, start="2026-01-01", keep=False)
    env = processes.environment(project_home, tmp_path / "dagster")
    process, tag = other_process
    with processes.instance_in(tmp_path / "dagster") as instance:
        dead = started_run(instance, tag)
        kill(process)
        done = processes.run(
            ["dagster", "job", "execute", "-m", "onnx_pipeline.definitions", "-j", "length_of_stay",
             "--tags", json.dumps({PARTITION_TAG: "2026-01-01"})],
            env,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        assert status(instance, dead) == DagsterRunStatus.FAILURE
        assert slots_taken(instance) == 0
        (run,) = instance.get_runs(filters=dg.RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))
        assert run.tags[PROCESS_TAG].count(":") >= 2
