"""SIGTERM and Ctrl-C during a run: it ends by itself, half of nothing stands, and the file is free."""

import signal

import pytest

from onnx_pipeline_tests.faults.jobs import Jobs


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "length_of_stay__predictions - STEP_START"),
        (signal.SIGINT, "length_of_stay__pool_predictions - STEP_START"),
    ],
)
def test_a_job_that_is_told_to_end_does_and_its_rerun_succeeds(jobs: Jobs, number: signal.Signals, moment: str) -> None:
    job = jobs.start()
    job.reaches(moment)
    job.process.send_signal(number)
    job.process.wait(60)
    jobs.assert_whole("length_of_stay")
    again = jobs.start()
    again.succeeds()
    assert "blocked by limit" not in again.log
    jobs.assert_scored()
    with jobs.instance() as instance:
        assert all(run.is_finished for run in instance.get_runs())
