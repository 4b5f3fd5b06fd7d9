"""kill -9 of `dagster job execute` with the concurrency pools on, followed at once by a rerun."""

import datetime
import random
import time
from pathlib import Path

import dagster as dg
import pytest

from onnx_pipeline.orchestration.run_history import run_history
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline_tests.faults.jobs import Jobs
from onnx_pipeline_tests.faults.ward import Ward

MOMENTS = (
    "Started execution of run",
    "length_of_stay__features - ASSET_MATERIALIZATION",
    "length_of_stay__pool_predictions - STEP_START",
    "length_of_stay__features - STEP_START",
    "length_of_stay__predictions - STEP_START",
    "length_of_stay__pool_predictions - ASSET_CHECK_EVALUATION",
)
"""Of its log, after each of which a run is killed within a third of a second."""

UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@pytest.mark.parametrize(
    "moments",
    [
        # Two, so that they run beside each other.
        MOMENTS[1:2],
        MOMENTS[2:3],
        pytest.param(MOMENTS[:1] + MOMENTS[3:], marks=(pytest.mark.nightly, pytest.mark.timeout(900))),
    ],
    ids=["features", "pool predictions", "the others"],
)
def test_a_killed_job_leaves_whole_days_and_its_rerun_neither_waits_nor_differs(
    jobs: Jobs, moments: tuple[str, ...]
) -> None:
    generator = random.Random(5)
    with jobs.instance() as instance:
        for text in moments:
            job = jobs.start()
            job.reaches(text)
            time.sleep(generator.uniform(0.0, 0.3))
            job.process.kill()
            job.process.wait()
            jobs.assert_whole("length_of_stay")

            again = jobs.start()
            again.succeeds()
            assert "blocked by limit" not in again.log, "it waited for the dead"
            jobs.assert_whole("length_of_stay")
            jobs.assert_scored()

        statuses = [run.status for run in instance.get_runs()]
        assert statuses.count(dg.DagsterRunStatus.SUCCESS) >= len(moments)
        assert not set(statuses) & set(UNFINISHED), statuses
        storage = instance.event_log_storage
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            assert (info.active_slot_count, info.pending_step_count) == (0, 0)


def test_a_run_that_was_killed_before_it_began_keeps_its_slices_busy_for_minutes_only(project_home: Path) -> None:
    partitions = partitioning(Ward(project_home).spec("replace"))
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun(job_name="by_replace", run_id="born-dead", tags={"dagster/partition": "south"}))
        busy = run_history(instance, "by_replace", partitions, now=now).busy
        later = run_history(instance, "by_replace", partitions, now=now + datetime.timedelta(minutes=11)).busy
    assert (set(busy), set(later)) == ({"south"}, set())
