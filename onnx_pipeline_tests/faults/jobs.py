"""`dagster job execute` over the sample's encounters, as processes that can be killed."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.sample import encounters
from onnx_pipeline_tests.faults.ward import until

CHECKOUT = Path(__file__).parents[2]
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
ROWS = 1_000
"""Of each day."""
MODELS = CHECKOUT / "onnx_pipeline" / "sample" / "models"


class Job:
    """One `dagster job execute`."""

    def __init__(self, log: Path, command: Sequence[str], environment: dict[str, str]) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=output, stderr=output)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def reaches(self, text: str) -> None:
        """Wait until the log says so."""
        until(lambda: text in self.log or self.process.poll() is not None, seconds=120)
        assert text in self.log, self.log[-3000:]

    def succeeds(self) -> None:
        assert self.process.wait(timeout=150) == 0, self.log[-5000:]


class StartedJobs(ABC):
    """`dagster job execute` of the project's scorings, in processes that can be killed."""

    home: Path
    environment: dict[str, str]
    _started: list[Job]

    @abstractmethod
    def instance(self) -> dg.DagsterInstance:
        """The Dagster instance of the jobs."""

    def start(self, scoring: str = "length_of_stay", first: str = DAYS[0], last: str = DAYS[-1], **more: str) -> Job:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        if first == last:
            tags = {"dagster/partition": first}
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "onnx_pipeline.definitions"]
        command += ["-j", scoring, "--tags", json.dumps(tags)]
        job = Job(self.home / f"run-{len(self._started) + 1}.log", command, {**self.environment, **more})
        self._started.append(job)
        return job

    def end(self) -> None:
        """Kill what still runs."""
        for job in self._started:
            job.process.kill()
            job.process.wait()

    def prepare_instance(self) -> None:
        """Dagster makes the tables of a new instance; two processes that do so at once disturb each other there."""
        with self.instance() as instance:
            instance.get_runs()
            instance.all_instigator_state()
            instance.event_log_storage.get_concurrency_keys()


class Jobs(StartedJobs):
    """A folder with a pool of encounters, and a Dagster instance with the project's own settings."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(CHECKOUT),
        }  # fmt: skip
        self._started = []
        shutil.copy(CHECKOUT / "dagster.yaml", home)
        (home / "data").mkdir()
        with self.pool.connect("making encounters", create=True) as connection:
            connection.register("to_copy", encounters.schema.empty_table())
            connection.execute("CREATE TABLE encounters AS FROM to_copy").fetchall()
            for batch in encounters.generate(len(DAYS), ROWS, start=datetime.date.fromisoformat(DAYS[0])):
                connection.register("to_copy", batch)
                connection.execute("INSERT INTO encounters FROM to_copy").fetchall()

    @property
    def pool(self) -> DuckDBPool:
        return DuckDBPool(self.home / "data" / "pool.duckdb", lock_timeout=60)

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with self.pool.connect("asking") as connection:
            return connection.execute(text).fetchall()

    def assert_whole(self, scoring: str) -> None:
        """No day is half there, and the log tells the same runs as the rows."""
        table = f"{scoring}_predictions"
        if (table,) not in self.query("SELECT table_name FROM duckdb_tables()"):
            return
        found = self.query(
            f"SELECT partition_key, run_id, count(*), count(DISTINCT encounter_id) FROM {table} GROUP BY ALL ORDER BY ALL"
        )
        logged = self.query(
            "SELECT partition_key, run_id, rows, source_rows FROM onnx_scoring_log "
            f"WHERE scoring = '{scoring}' ORDER BY ALL"
        )
        assert found == logged
        assert {row[2:] for row in found} <= {(ROWS, ROWS)}

    def assert_scored(self) -> None:
        """Lengths of stay of every encounter are there once, and are what ONNX Runtime alone says."""
        import onnxruntime

        names = ", ".join(encounters.TREE_FEATURES)
        with self.pool.connect("comparing") as connection:
            source = connection.sql(f"SELECT encounter_id, {names} FROM encounters ORDER BY 1").to_arrow_table()
            target = connection.sql(
                "SELECT encounter_id, predicted_days FROM length_of_stay_predictions ORDER BY 1"
            ).to_arrow_table()
        assert target["encounter_id"].to_pylist() == source["encounter_id"].to_pylist()
        columns = [
            np.array(source[name].cast("float32").to_pylist(), dtype=np.float32) for name in encounters.TREE_FEATURES
        ]
        session = onnxruntime.InferenceSession(
            (MODELS / "length_of_stay.onnx").read_bytes(), providers=["CPUExecutionProvider"]
        )
        (name,) = [tensor.name for tensor in session.get_inputs()]
        expected = session.run(["variable"], {name: np.column_stack(columns)})[0].ravel()
        np.testing.assert_allclose(target["predicted_days"].to_numpy(), expected, rtol=1e-5)
