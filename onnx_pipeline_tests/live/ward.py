"""Four wards of visits on the server, and processes that score them and can be killed at a place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.pools import open_pool
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline_tests.faults import ward as faults
from onnx_pipeline_tests.faults.ward import ROWS, WARDS, Stop, Ward
from onnx_pipeline_tests.live.server import Server


@dataclass(frozen=True)
class LiveWard(Ward):
    """A ward whose pool is a server; staging and models lie in its folder."""

    url: str = ""
    server: Server | None = None
    """What asks plainly; a child process has none."""

    @property
    def pool(self) -> MssqlPool:  # type: ignore[override]
        pool = open_pool(self.url)
        assert isinstance(pool, MssqlPool)
        return pool

    def _plain(self) -> Server:
        assert self.server is not None
        return self.server

    def build(self) -> None:
        import mssql_python

        from onnx_pipeline.pools.tsql.connections import odbc_string

        server = self._plain()
        self.clear()
        server.execute(
            "CREATE TABLE visits (visit_id BIGINT NOT NULL, ward VARCHAR(10) NOT NULL, age REAL, pulse REAL, oxygen REAL)"
        )
        connection = mssql_python.connect(odbc_string(server.address), autocommit=True)
        try:
            visits = self.visits()
            names = visits.schema.names
            connection.cursor().bulkcopy_arrow("dbo.visits", visits, column_mappings=names)
        finally:
            connection.close()
        assert server.scalar("SELECT COUNT(*) FROM visits WHERE age IS NOT NULL") == ROWS * len(WARDS)
        (self.home / "data").mkdir(parents=True, exist_ok=True)
        self.write_models()

    def clear(self) -> None:
        for table in ("visits", "scores_replace", "scores_append", "scores_upsert", "onnx_scoring_log"):
            self._plain().execute(f"IF OBJECT_ID('{table}') IS NOT NULL DROP TABLE {table}")

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._plain().rows(text, parameters)

    def assert_whole(self, mode: str) -> dict[str, str]:
        if not self.query("SELECT 1 WHERE OBJECT_ID(?) IS NOT NULL", [f"scores_{mode}"]):
            return {}
        found = self.query(
            "SELECT partition_key, run_id, model_sha256, COUNT(*), COUNT(DISTINCT visit_id) "
            f"FROM scores_{mode} GROUP BY partition_key, run_id, model_sha256 ORDER BY 1, 2"
        )
        logged = self.query(
            "SELECT partition_key, run_id, model_sha256, [rows], source_rows FROM onnx_scoring_log "
            "WHERE scoring = ? ORDER BY 1, 2",
            [f"by_{mode}"],
        )
        assert [row[:3] for row in found] == [row[:3] for row in logged], "target and log disagree"
        for row in (*found, *logged):
            assert row[3:] == (ROWS, ROWS), f"half a ward: {row}"
        return {ward: run for ward, run, *_ in found}

    def assert_scored(self, mode: str, model: str) -> None:
        rows = self.query(f"SELECT visit_id, partition_key, model_sha256, score FROM scores_{mode} ORDER BY visit_id")
        ids, wards, models, scores = zip(*rows, strict=True)
        visits = self.visits()
        assert list(ids) == visits["visit_id"].to_pylist()
        assert list(wards) == visits["ward"].cast(pa.string()).to_pylist()
        assert set(models) == {self.sha256(model)}
        np.testing.assert_allclose(scores, self.expected(model), rtol=1e-5, atol=1e-6)


def score_in_a_process(home: Path, url: str, mode: str, model: str, run_id: str, place: str | None) -> None:
    """What a child process runs: see `in_a_process`."""
    ward = LiveWard(home, url)
    faults.in_a_process(ward, ward.score, PLACES, mode, model, run_id, place)


def while_rows_go_in(stop: Stop) -> None:
    original = Session.copy

    def slowly(self: Any, table: Any, schema: Any, batches: Iterator[pa.RecordBatch]) -> None:
        def some() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield batch.slice(0, batch.num_rows // 2)
                stop()

        original(self, table, schema, some())

    Session.copy = slowly  # type: ignore[method-assign]


def at_statement(kind: str, *, before: bool, nth: int = 2) -> Callable[[Stop], None]:
    """Stop around the nth statement of a load that is of a kind: by default in the second ward's."""

    def matches(_: Session, statement: Any, *__: Any) -> bool:
        return str(statement).startswith(kind)

    return lambda stop: faults._around(Session, "execute", matches, stop, before=before, nth=nth)


def after_a_commit(stop: Stop) -> None:
    original = MssqlPool.load

    def stopping(self: Any, *arguments: Any) -> Iterator[Any]:
        for number, loaded in enumerate(original(self, *arguments)):
            if number == 1:
                stop()
            yield loaded

    MssqlPool.load = stopping  # type: ignore[method-assign]


PLACES: dict[str, Callable[[Stop], None]] = {
    "while features are read": faults.PLACES["while features are read"],
    "while rows go into staging": while_rows_go_in,
    "when rows are staged and not swapped in": at_statement("BEGIN", before=True),
    "when the old rows are deleted and the new ones not there": at_statement("INSERT INTO scores", before=True),
    "when rows are in and the log is not": at_statement("INSERT INTO scores", before=False),
    "before the commit": at_statement("COMMIT", before=True),
    "after the commit, before the staging table is dropped": at_statement("COMMIT", before=False),
    "after a load": after_a_commit,
}
