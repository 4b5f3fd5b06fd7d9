"""`dagster job execute` over encounters on the server."""

import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.sample import encounters
from onnx_pipeline_tests.dagster import processes
from onnx_pipeline_tests.faults.jobs import CHECKOUT, DAYS, MODELS, ROWS, StartedJobs
from onnx_pipeline_tests.live.server import Server, connect

COLUMNS = {
    pa.int64(): "BIGINT", pa.date32(): "DATE", pa.timestamp("us"): "DATETIME2(6)", pa.string(): "NVARCHAR(40)",
    pa.int32(): "INT", pa.float32(): "REAL", pa.float64(): "FLOAT", pa.bool_(): "BIT",
}  # fmt: skip
TABLES = ("encounters", "length_of_stay_predictions", "readmission_predictions", "onnx_scoring_log", "onnx_models")


class LiveJobs(StartedJobs):
    """A Dagster instance with the project's own settings, and encounters on the server."""

    def __init__(self, home: Path, server: Server, url: str) -> None:
        self.home, self.server = home, server
        self.environment = processes.environment(home, home / "dagster") | {
            "ONNX_PIPELINE_POOL": url,
            "PYTHONPATH": str(CHECKOUT),
        }
        self._started = []
        self.clear()
        columns = ", ".join(f"[{field.name}] {COLUMNS[field.type]}" for field in encounters.schema)
        server.execute(f"CREATE TABLE encounters ({columns})")
        self.admit(len(DAYS))

    def admit(self, days: int, start: str = DAYS[0]) -> None:
        """Encounters of some more days."""
        connection = connect(self.server.address)
        try:
            batches = encounters.generate(days, ROWS, start=datetime.date.fromisoformat(start))
            rows = pa.Table.from_batches(batches)
            connection.cursor().bulkcopy_arrow("dbo.encounters", rows, column_mappings=encounters.schema.names)
        finally:
            connection.close()

    def clear(self) -> None:
        for table in TABLES:
            self.server.execute(f"IF OBJECT_ID('{table}') IS NOT NULL DROP TABLE {table}")

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))

    @property
    def pool(self) -> MssqlPool:
        return MssqlPool.from_url(self.environment["ONNX_PIPELINE_POOL"])

    def assert_whole(self, scoring: str) -> dict[str, str]:
        """No day is half there, and the log tells the same runs as the rows; each day's run."""
        table = f"{scoring}_predictions"
        if not self.server.rows("SELECT 1 WHERE OBJECT_ID(?) IS NOT NULL", [table]):
            return {}
        found = self.server.rows(
            f"SELECT partition_key, run_id, COUNT(*), COUNT(DISTINCT encounter_id) FROM {table} "
            "GROUP BY partition_key, run_id ORDER BY 1, 2"
        )
        logged = self.server.rows(
            "SELECT partition_key, run_id, [rows], source_rows FROM onnx_scoring_log WHERE scoring = ? ORDER BY 1, 2",
            [scoring],
        )
        assert found == logged
        assert {row[2:] for row in found} <= {(ROWS, ROWS)}
        return {day: run for day, run, *_ in found}

    def _source(self) -> dict[str, list[Any]]:
        names = encounters.schema.names
        listed = ", ".join(f"[{name}]" for name in names)
        rows = self.server.rows(f"SELECT {listed} FROM encounters ORDER BY encounter_id")
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def assert_lengths_of_stay(self) -> None:
        """Every encounter's is there once, and is what ONNX Runtime alone says."""
        source = self._source()
        (variable,) = self._run("length_of_stay", ["variable"], {
            "features": np.array([source[name] for name in encounters.TREE_FEATURES], dtype=np.float32).T.copy()
        })  # fmt: skip
        found = self.server.rows(
            "SELECT encounter_id, CONVERT(VARCHAR(10), partition_key), predicted_days FROM length_of_stay_predictions "
            "ORDER BY encounter_id"
        )
        self._assert_places(found, source)
        np.testing.assert_allclose([row[2] for row in found], variable.ravel(), rtol=1e-5)

    def assert_readmissions(self) -> None:
        """Labels and both probabilities are what ONNX Runtime alone says; its answer is a list of dicts."""
        source = self._source()
        inputs: dict[str, Any] = {}
        for name in (*encounters.NUMBERS, *encounters.FLAGS, *encounters.CATEGORIES):
            dtype = object if name in encounters.CATEGORIES else bool if name in encounters.FLAGS else np.float32
            inputs[name] = np.array([source[name]], dtype=dtype).T
        label, probabilities = self._run("readmission", ["label", "probabilities"], inputs)
        found = self.server.rows(
            "SELECT encounter_id, partition_key, readmitted, probability_0, probability_1 FROM readmission_predictions "
            "ORDER BY encounter_id"
        )
        self._assert_places(found, source)
        assert [row[2] for row in found] == label.tolist()
        expected = [(row[0], row[1]) for row in probabilities]
        np.testing.assert_allclose([row[3:] for row in found], expected, rtol=1e-5)

    @staticmethod
    def _assert_places(found: list[tuple[Any, ...]], source: dict[str, list[Any]]) -> None:
        assert [row[0] for row in found] == source["encounter_id"]
        assert [row[1] for row in found] == [day.isoformat() for day in source["admitted_on"]]

    @staticmethod
    def _run(model: str, outputs: list[str], inputs: dict[str, Any]) -> list[Any]:
        import onnxruntime

        data = (MODELS / f"{model}.onnx").read_bytes()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        answers: list[Any] = session.run(outputs, inputs)
        return answers
