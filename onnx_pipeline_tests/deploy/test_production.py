"""The production instance: every process of `deploy/compose.yaml` for real, each killed and started again.

`onnx_pipeline_tests/deploy/composed.py` takes their commands, environment and healthchecks from that file.
"""

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import pytest

from onnx_pipeline.cli.sample import create_sample
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline_tests.dagster import processes
from onnx_pipeline_tests.deploy.azure_stand import AzureStand, azure_stand
from onnx_pipeline_tests.deploy.composed import Composition, composition

pytestmark = [pytest.mark.daemon, pytest.mark.timeout(600)]

SCORING = "length_of_stay"
SECRETS = {"DAGSTER_POSTGRES_PASSWORD": "of/a:test@%", "ONNX_PIPELINE_SERVE_KEYS": "key-of-a-test"}
eventually = partial(processes.eventually, seconds=240.0)


class Deployment:
    """The composition, its pool, and what its webserver answers."""

    def __init__(self, composed: Composition, azure: AzureStand) -> None:
        self.composed, self.azure = composed, azure
        self.pool = DuckDBPool(composed.folder / "data" / "pool.duckdb")
        self.days = 0

    def add_day(self) -> None:
        """20 more rows in the source."""
        self.days += 1
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("ONNX_PIPELINE_POOL", f"duckdb:///{self.pool.path}")
            create_sample(days=self.days, rows_per_day=20, start="2026-01-01", keep=False)

    def counted(self) -> tuple[int, int, int]:
        """Rows of the source, of the target, and of the target's distinct keys that the source has."""
        with self.pool.connect("a test") as connection:
            tables = {
                name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
            }
            if f"{SCORING}_predictions" not in tables:
                return -1, 0, 0
            (row,) = connection.execute(
                f"SELECT (SELECT count(*) FROM encounters), (SELECT count(*) FROM {SCORING}_predictions), "
                f"(SELECT count(DISTINCT encounter_id) FROM {SCORING}_predictions SEMI JOIN encounters USING (encounter_id))"
            ).fetchall()
            return row

    def scored(self) -> None:
        """Until every row of the source stands in the target once."""
        eventually(lambda: self.counted() == (self.days * 20,) * 3, f"{self.days} days scored")

    def settled(self) -> None:
        """Until every run has ended."""
        eventually(lambda: {run["status"] for run in self.runs()} <= {"SUCCESS", "FAILURE"}, "no run is unfinished")

    def ask(self, query: str, **variables: Any) -> Any:
        """GraphQL, as the UI asks it."""
        port = self.composed.ports["3000"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def start_sensor(self) -> None:
        selector = {
            "repositoryLocationName": "onnx_pipeline", "repositoryName": "__repository__",
            "sensorName": f"{SCORING}_new_rows",
        }  # fmt: skip
        query = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
            __typename ... on PythonError { message } } }"""
        assert self.ask(query, selector=selector)["startSensor"]["__typename"] == "Sensor"

    def launch(self, partition: str) -> str:
        """A person's run of one day; its id."""
        selector = {
            "repositoryLocationName": "onnx_pipeline", "repositoryName": "__repository__", "pipelineName": SCORING,
        }  # fmt: skip
        query = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        tags = [{"key": "dagster/partition", "value": partition}]
        found = self.ask(query, params={"selector": selector, "executionMetadata": {"tags": tags}})["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def runs(self) -> list[dict[str, Any]]:
        query = "{ runsOrError { ... on Runs { results { runId parentRunId status tags { key value } } } } }"
        return list(self.ask(query)["runsOrError"]["results"])

    def status(self, run_id: str) -> str:
        (status,) = [run["status"] for run in self.runs() if run["runId"] == run_id]
        return str(status)

    def statuses_of_retries(self, run_id: str) -> list[str]:
        return [str(run["status"]) for run in self.runs() if run["parentRunId"] == run_id]

    def logs(self, run_id: str) -> str:
        """What the steps of a run printed, as the UI shows it: the webserver fetches it from Blob Storage."""
        query = """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
            __typename ... on LogsCapturedEvent { fileKey } } } } }"""
        events = self.ask(query, run=run_id)["logsForRun"]["events"]
        (key,) = {event["fileKey"] for event in events if event["__typename"] == "LogsCapturedEvent"}
        query = "query ($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr } }"
        found = self.ask(query, key=[run_id, "compute_logs", key])["capturedLogs"]
        return f"{found['stdout']}{found['stderr']}"


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Everything up, over one day of the sample, with the sensor of new rows on."""
    # Not pytest's folder, which the user that Postgres runs as may not enter.
    folder = Path(tempfile.mkdtemp(prefix="onnx-pipeline-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "azure").mkdir()
    try:
        with azure_stand(folder / "azure", "dagster-logs") as azure:
            shell = {
                **SECRETS, "DAGSTER_LOGS_ACCOUNT": azure.account, "DAGSTER_LOGS_CONTAINER": azure.container,
                "ONNX_PIPELINE_NEW_ROWS_SECONDS": "5",
            }  # fmt: skip
            with composition(folder, shell, azure.environment) as composed:
                made = Deployment(composed, azure)
                composed.up("postgres")
                # As the page has it: docker compose run code onnx-pipeline sample
                done = composed.run(
                    "code", ["onnx-pipeline", "sample", "--start", "2026-01-01", "--days", "1", "--rows-per-day", "20"]
                )
                assert done.returncode == 0, done.stdout
                made.days = 1
                composed.up("code", "scoring", "webserver", "daemon")
                for service in ("webserver", "daemon", "scoring"):
                    composed.wait(service)
                made.start_sensor()
                yield made
    finally:
        shutil.rmtree(folder)


@pytest.mark.nightly
def test_a_run_whose_container_is_killed_is_ended_and_its_slot_freed(deployment: Deployment) -> None:
    composed = deployment.composed
    deployment.scored()
    # A run that still holds the slot would wait for the lock, and the next one not begin.
    deployment.settled()
    with filelock.FileLock(f"{deployment.pool.path}.lock"):
        # It waits for the pool, in the middle of its work.
        killed = deployment.launch("2026-01-01")
        eventually(lambda: deployment.status(killed) == "STARTED", "the run has begun")
        composed.kill("code")
    composed.up("code")
    composed.wait("code")
    eventually(lambda: deployment.status(killed) == "FAILURE", "the run that is gone is ended")
    # The daemon launches it again by itself, from the code server that is up by now.
    eventually(lambda: "SUCCESS" in deployment.statuses_of_retries(killed), "the run is tried again, and succeeds")
    again = deployment.launch("2026-01-01")
    eventually(lambda: deployment.status(again) == "SUCCESS", "the slot is free for another run")
    assert deployment.counted() == (20, 20, 20)
    assert "20 rows" in deployment.logs(again), "what the steps printed, from Blob Storage"
    # The instance keeps nothing beside its configuration, so that its folder may be read-only. These two empty ones are
    # tried at each start of the webserver, for telemetry that is off; it goes on where it cannot make them.
    kept = {path.name for path in (composed.folder / "opt" / "dagster").iterdir()} - {"logs", ".logs_queue"}
    assert kept == {"dagster.yaml", "workspace.yaml"}
    assert not list((composed.folder / "work").iterdir())
    for secret in SECRETS.values():
        assert not any(secret in composed.log(service) for service in composed.processes)


@pytest.mark.nightly
def test_every_row_is_scored_once_whichever_process_is_killed(deployment: Deployment) -> None:
    composed = deployment.composed
    deployment.scored()
    # Nothing waits for these two.
    for service in ("webserver", "scoring"):
        composed.kill(service)
    deployment.add_day()
    deployment.scored()
    for service in ("webserver", "scoring", "daemon", "postgres", "code"):
        if service in composed.processes:
            composed.kill(service)
            deployment.add_day()
        composed.up(service)
        composed.wait(service)
        deployment.scored()
    deployment.settled()
    assert deployment.counted() == (100, 100, 100)
