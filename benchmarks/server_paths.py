"""The paths measured against a server, each in a process of its own: `python -m benchmarks.server_paths <path> <rows>`.

Prints one JSON line: seconds without imports, by phase too, this process's CPU seconds, and its peak memory in MB.
Both sides are connected and have looked at the source or the target before the clock starts, as a run has that loads
its partitions.
What is written is counted in the pool afterwards, outside the time.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from benchmarks.memory import PeakMemory
from benchmarks.server_setting import (
    BATCH_ROWS,
    COLUMNS,
    SLICE,
    TARGET,
    address,
    create_table,
    rows_reader,
    slice_load,
    source_table,
)
from onnx_pipeline.pools.records import LogRow
from onnx_pipeline.pools.tsql.drivers.open import open_driver
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["main"]

Phases = dict[str, float]

_LOGIN_SECONDS = 30
_EXECUTEMANY_ROWS = 5000
_BARE_TABLE = "bare"

_HELD = ExitStack()


class _WatchedPool(MssqlPool):
    """A pool that notes when each statement is sent, and how long the bulk copy takes."""

    moments: list[tuple[float, str]]
    staged: tuple[float, float]

    def finish(self, statement: str, purpose: str) -> str:
        self.moments.append((time.perf_counter(), statement))
        return super().finish(statement, purpose)

    def stage(
        self, session: Session, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], log: LogRow
    ) -> None:
        started = time.perf_counter()
        super().stage(session, table, schema, batches, log)
        self.staged = (started, time.perf_counter())


def _held(driver: str) -> _WatchedPool:
    """A pool with its connection, for as long as this process lives."""
    pool = _WatchedPool(address(), driver=open_driver(driver))
    pool.moments = []
    held: _WatchedPool = _HELD.enter_context(pool.looking("benchmark"))  # type: ignore[assignment]  # a copy of itself
    return held


def _pool_out(driver: str, rows: int) -> Callable[[], Phases]:
    pool = _held(driver)
    spec = ScoringSpec(
        name="bench", onnx="model.onnx", source=source_table(rows), key=COLUMNS[:1], target="predictions"
    )
    source = pool.source(spec)
    statement = sa.select(*(source.column(name) for name in COLUMNS)).select_from(source.selectable)

    def run() -> Phases:
        with pool.read(statement) as reader:
            _expect(rows, sum(batch.num_rows for batch in reader))
        return {}

    return run


def _pool_in(driver: str, rows: int) -> Callable[[], Phases]:
    pool = _held(driver)
    pool.ensure_target(TARGET)

    def run() -> Phases:
        pool.moments.clear()
        started = time.perf_counter()
        (loaded,) = pool.load(TARGET, [slice_load(rows)], "replace", lambda _: None)
        ended = time.perf_counter()
        _expect(rows, loaded.present)
        copy_began, copy_ended = pool.staged
        swap_began = next(moment for moment, text in pool.moments if text.startswith("BEGIN TRANSACTION"))
        committed = next(moment for moment, text in pool.moments if moment > swap_began and text.startswith("COMMIT"))
        return {
            "prepare": copy_began - started,
            "bulk copy": copy_ended - copy_began,
            "checksum": swap_began - copy_ended,
            "swap": committed - swap_began,
            "leave": ended - committed,
        }

    return run


def _bare(driver: str, table: str) -> Any:
    """A connection that has looked at the table."""
    connection = open_driver(driver).connect(address(), _LOGIN_SECONDS)
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM [{table}] WHERE 1 = 0")
    cursor.fetchall()
    return connection


def _bare_out(driver: str, rows: int) -> Callable[[], Phases]:
    connection = _bare(driver, source_table(rows))
    columns = ", ".join(f"[{name}]" for name in COLUMNS)
    statement = f"SELECT {columns} FROM [{source_table(rows)}]"

    def run() -> Phases:
        cursor = connection.cursor()
        cursor.execute(statement)
        if driver == "pyodbc":
            _expect(rows, len(cursor.fetchall()))
        else:
            reader = cursor.arrow_reader(batch_size=BATCH_ROWS)
            _expect(rows, sum(batch.num_rows for batch in reader))
        connection.close()
        return {}

    return run


def _bare_in(driver: str, rows: int) -> Callable[[], Phases]:
    """The driver's own way into an empty table, then delete and insert in one transaction, as one writes it by hand."""
    MssqlPool(address(), driver=open_driver(driver)).ensure_target(TARGET)
    connection = _bare(driver, TARGET.table)
    listed = ", ".join(f"[{name}]" for name in COLUMNS)
    marks = ", ".join("?" * len(COLUMNS))

    def run() -> Phases:
        started = time.perf_counter()
        cursor = connection.cursor()
        cursor.execute(create_table(_BARE_TABLE))
        began = time.perf_counter()
        if driver == "pyodbc":
            cursor.fast_executemany = True
            for batch in rows_reader(rows):
                for start in range(0, batch.num_rows, _EXECUTEMANY_ROWS):
                    part = batch.slice(start, _EXECUTEMANY_ROWS)
                    values = list(zip(*(column.to_pylist() for column in part.columns), strict=True))
                    cursor.executemany(f"INSERT INTO [dbo].[{_BARE_TABLE}] ({listed}) VALUES ({marks})", values)
            cursor.fast_executemany = False
        else:
            cursor.bulkcopy_arrow(
                f"[dbo].[{_BARE_TABLE}]", rows_reader(rows), timeout=0, table_lock=True, keep_nulls=True
            )
        copied = time.perf_counter()
        cursor.execute("BEGIN TRANSACTION")
        cursor.execute(f"DELETE FROM [dbo].[{TARGET.table}] WHERE partition_key = N'{SLICE}'")
        cursor.execute(
            f"INSERT INTO [dbo].[{TARGET.table}] ({listed}, partition_key, model_sha256, scored_at, run_id) "
            f"SELECT {listed}, N'{SLICE}', N'{'0' * 64}', CAST('2026-01-01' AS DATETIME2(6)), N'{'0' * 36}' "
            f"FROM [dbo].[{_BARE_TABLE}]"
        )
        cursor.execute("COMMIT TRANSACTION")
        swapped = time.perf_counter()
        cursor.execute(f"DROP TABLE [dbo].[{_BARE_TABLE}]")
        connection.close()
        return {
            "prepare": began - started,
            "bulk copy": copied - began,
            "swap": swapped - copied,
            "leave": time.perf_counter() - swapped,
        }

    return run


def _expect(rows: int, found: int) -> None:
    if found != rows:
        raise SystemExit(f"{rows:,} rows were expected and {found:,} came")


def _count_target() -> int:
    """Rows of the target whose columns are all filled; the table is dropped, so that the next path finds none."""
    pool = MssqlPool(address())
    filled = " AND ".join(f"[{name}] IS NOT NULL" for name in COLUMNS)
    with pool.session("benchmark") as session:
        found = int(session.scalar(f"SELECT COUNT(*) AS n FROM [dbo].[{TARGET.table}] WHERE {filled}"))
        session.execute(f"DROP TABLE [dbo].[{TARGET.table}]")
    return found


PATHS: dict[str, Callable[[str, int], Callable[[], Phases]]] = {
    "out driver": _bare_out,
    "out pool": _pool_out,
    "in driver": _bare_in,
    "in pool": _pool_in,
}


def main() -> None:
    path, driver, number = sys.argv[1:4]
    rows = int(number)
    run = PATHS[path](driver, rows)
    # Imports do not count, and pyarrow imports pandas, where that is installed, at its first look at a Python list.
    pa.array([0])
    with PeakMemory() as memory:
        started, worked = time.perf_counter(), time.process_time()
        phases = run()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    if path.startswith("in"):
        _expect(rows, _count_target())
    found: dict[str, Any] = {"seconds": seconds, "cpu_seconds": cpu_seconds, "phases": phases}
    found["peak_rss_mb"] = memory.megabytes
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
