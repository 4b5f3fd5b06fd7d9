"""The sample's scorings through Dagster, in processes of their own, unchanged but for the pool's URL."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.orchestration.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster import processes
from onnx_pipeline_tests.dagster.conftest import definitions
from onnx_pipeline_tests.faults.jobs import DAYS
from onnx_pipeline_tests.live.conftest import DRIVERS
from onnx_pipeline_tests.live.jobs import LiveJobs
from onnx_pipeline_tests.live.server import Server

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
]


@pytest.fixture
def jobs(request: pytest.FixtureRequest, server: Server, project_home: Path) -> Iterator[LiveJobs]:
    scheme, rows = DRIVERS[getattr(request, "param", "mssqlpython")]
    jobs = LiveJobs(project_home, server, server.url(scheme, rows=rows))
    yield jobs
    jobs.end()
    jobs.clear()


@pytest.mark.parametrize("jobs", DRIVERS, indirect=True)
def test_both_samples_are_scored_by_one_job_each_and_scored_again_to_the_same_tables(jobs: LiveJobs) -> None:
    jobs.start("length_of_stay").succeeds()
    jobs.start("readmission").succeeds()
    first = jobs.assert_whole("length_of_stay")
    assert list(first) == list(DAYS)
    jobs.assert_lengths_of_stay()
    jobs.assert_readmissions()
    jobs.start("length_of_stay", DAYS[1], DAYS[1]).succeeds()
    second = jobs.assert_whole("length_of_stay")
    assert [day for day in DAYS if first[day] != second[day]] == [DAYS[1]]
    jobs.assert_lengths_of_stay()
    models = jobs.server.rows("SELECT name, COUNT(*) FROM onnx_models GROUP BY name ORDER BY name")
    assert models == [("length_of_stay", 1), ("readmission", 1)]
    assert jobs.server.staging_tables() == []


def test_no_secret_of_the_pool_is_in_the_log_of_a_run(jobs: LiveJobs) -> None:
    job = jobs.start(last=DAYS[0])
    job.succeeds()
    password = jobs.server.address.password
    assert password is None or password not in job.log
    with jobs.instance() as instance:
        (run,) = instance.get_runs()
        events = "".join(str(entry) for entry in instance.all_logs(run.run_id))
    assert "RUN_SUCCESS" in job.log
    assert "encounters" in events
    assert password is None or password not in events


def test_a_killed_job_leaves_whole_days_and_its_rerun_neither_waits_nor_differs(jobs: LiveJobs) -> None:
    generator = random.Random(5)
    moments = (
        "length_of_stay__features - STEP_START",
        "length_of_stay__pool_predictions - STEP_START",
        "length_of_stay__pool_predictions - ASSET_CHECK_EVALUATION",
    )
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
        jobs.assert_lengths_of_stay()
        assert jobs.server.staging_tables() == []


def test_jobs_over_the_same_and_other_days_and_both_scorings_succeed_at_once(jobs: LiveJobs) -> None:
    jobs.prepare_instance()
    started = [jobs.start(), jobs.start(first=DAYS[1], last=DAYS[1]), jobs.start("readmission")]
    for job in started:
        job.succeeds()
    for scoring in ("length_of_stay", "readmission"):
        jobs.assert_whole(scoring)
    jobs.assert_lengths_of_stay()
    jobs.assert_readmissions()
    assert jobs.server.staging_tables() == []


def asked(spec: ScoringSpec) -> list[tuple[str | None, str | None]] | str | None:
    """The ranges of partitions that the new-rows sensor asks for, or why none."""
    sensor = definitions(spec).resolve_sensor_def(f"{spec.scoring}_new_rows")
    with dg.DagsterInstance.ephemeral() as instance:
        with dg.build_sensor_context(instance=instance, resources=default_resources()) as context:
            data = sensor.evaluate_tick(context)
    ranges = []
    for request in data.run_requests or []:
        single = request.tags.get(PARTITION_TAG)
        ranges.append((single or request.tags.get(RANGE_START_TAG), single or request.tags.get(RANGE_END_TAG)))
    return ranges or data.skip_message


def test_the_sensor_asks_for_what_is_new_or_changed_on_the_server_and_for_no_more(
    jobs: LiveJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_PIPELINE_POOL", jobs.environment["ONNX_PIPELINE_POOL"])
    spec = ScoringSpec(
        name="length_of_stay", onnx=str(processes.ROOT / "onnx_pipeline/sample/models/length_of_stay.onnx"),
        source={"table": "encounters", "changed": "updated_at"}, key=["encounter_id"],
        partitions={"column": "admitted_on", "every": "day", "start": DAYS[0]}, target="length_of_stay_predictions",
        outputs={"predicted_days": "variable"}, directory=str(jobs.home),
    )  # fmt: skip
    assert asked(spec) == [(DAYS[0], DAYS[-1])]
    jobs.start().succeeds()
    assert isinstance(asked(spec), str)
    jobs.admit(2, "2026-01-05")
    jobs.server.execute(
        "UPDATE encounters SET age = age + 1, updated_at = '2026-03-01T00:00:00.000001' WHERE encounter_id = "
        f"(SELECT MAX(encounter_id) FROM encounters WHERE admitted_on = '{DAYS[1]}')"
    )
    assert asked(spec) == [(DAYS[1], DAYS[1]), ("2026-01-05", "2026-01-06")]
