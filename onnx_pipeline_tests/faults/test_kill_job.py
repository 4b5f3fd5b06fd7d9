"""kill -9 of `dagster job execute` with the concurrency pools on, followed at once by a rerun."""

import random
import time

import dagster as dg

from onnx_pipeline_tests.faults.jobs import Jobs

MOMENTS = (
    "Started execution of run",
    "length_of_stay__features - STEP_START",
    "length_of_stay__features - ASSET_MATERIALIZATION",
    "length_of_stay__predictions - STEP_START",
    "length_of_stay__pool_predictions - STEP_START",
    "length_of_stay__pool_predictions - ASSET_CHECK_EVALUATION",
)
"""Of its log, after each of which a run is killed within a third of a second."""

UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def test_a_killed_job_leaves_whole_days_and_its_rerun_neither_waits_nor_differs(jobs: Jobs) -> None:
    moments = random.Random(5)
    with jobs.instance() as instance:
        for text in MOMENTS:
            job = jobs.start()
            job.reaches(text)
            time.sleep(moments.uniform(0.0, 0.3))
            job.process.kill()
            job.process.wait()
            jobs.assert_whole("length_of_stay")

            again = jobs.start()
            again.succeeds()
            assert "blocked by limit" not in again.log, "it waited for the dead"
            jobs.assert_whole("length_of_stay")
            jobs.assert_scored()

        statuses = [run.status for run in instance.get_runs()]
        assert statuses.count(dg.DagsterRunStatus.SUCCESS) >= len(MOMENTS)
        assert not set(statuses) & set(UNFINISHED), statuses
        storage = instance.event_log_storage
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            assert (info.active_slot_count, info.pending_step_count) == (0, 0)
