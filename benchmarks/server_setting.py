"""What every path against a server works on: a database of its own, and wide rows to put into tables of it."""

import datetime
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.arrow import from_numpy
from onnx_pipeline.pools.records import Fingerprint, LogRow, SliceLoad, Target
from onnx_pipeline.pools.rows import StagedRows
from onnx_pipeline.pools.tsql.connections import Address, parse_url
from onnx_pipeline.pools.tsql.drivers.open import open_driver
from onnx_pipeline.pools.tsql.pool import MssqlPool

__all__ = [
    "BATCH_ROWS",
    "COLUMNS",
    "DATABASE_VARIABLE",
    "SLICE",
    "TARGET",
    "VARIABLE",
    "address",
    "create_table",
    "make_source",
    "new_database",
    "rows_reader",
    "slice_load",
    "source_table",
]

VARIABLE = "ONNX_PIPELINE_TEST_MSSQL"
DATABASE_VARIABLE = "ONNX_PIPELINE_BENCH_DATABASE"
BATCH_ROWS = 65_536
SLICE = "all"

_KEY = "encounter_id"
_FEATURES = [f"f{index:02d}" for index in range(28)]
COLUMNS = [_KEY, *_FEATURES]
_SCHEMA = pa.schema([(_KEY, pa.int64()), *((name, pa.float32()) for name in _FEATURES)])
_PROVENANCE = [
    ("partition_key", pa.string()),
    ("model_sha256", pa.string()),
    ("scored_at", pa.timestamp("us")),
    ("run_id", pa.string()),
]
TARGET = Target("predictions", pa.schema([*_SCHEMA, *_PROVENANCE]), (_KEY,))


def address(database: str | None = None) -> Address:
    """The server that the environment names, and in it a database: the benchmark's, for a path's process."""
    named = parse_url(os.environ[VARIABLE])
    return replace(named, database=database or os.environ.get(DATABASE_VARIABLE, named.database))


@contextmanager
def new_database() -> Iterator[str]:
    """A database of the benchmark's own, dropped at the end."""
    name = f"onnx_bench_{uuid.uuid4().hex[:12]}"
    server = MssqlPool(address())
    with server.session("benchmark") as session:
        session.execute(f"CREATE DATABASE [{name}]")
    try:
        yield name
    finally:
        with server.session("benchmark") as session:
            session.execute(f"DROP DATABASE [{name}]")


def create_table(name: str) -> str:
    """The statement that makes a table of the columns that are moved, any of which may be NULL."""
    features = ", ".join(f"[{column}] REAL NULL" for column in _FEATURES)
    return f"CREATE TABLE [dbo].[{name}] ([{_KEY}] BIGINT NULL, {features})"


def source_table(rows: int) -> str:
    return f"encounters_{rows}"


def make_source(where: Address, rows: int) -> None:
    """A table of `rows` rows, and proof that every column of it is filled."""
    driver = open_driver("mssqlpython")
    connection = driver.connect(where, 30)
    name = source_table(rows)
    try:
        cursor = connection.cursor()
        cursor.execute(create_table(name))
        cursor.bulkcopy_arrow(f"[dbo].[{name}]", rows_reader(rows), timeout=0, table_lock=True)
        filled = ", ".join(f"COUNT([{column}]) AS n{index}" for index, column in enumerate(COLUMNS))
        cursor.execute(f"SELECT {filled} FROM [dbo].[{name}]")
        counts = list(cursor.fetchone())
    finally:
        connection.close()
    if counts != [rows] * len(COLUMNS):
        raise SystemExit(f"the server's bulk copy does not fill every column: values per column {counts}, rows {rows}")


_RANDOM = np.random.default_rng(0)
_VALUES = [from_numpy(_RANDOM.standard_normal(BATCH_ROWS, dtype=np.float32)) for _ in _FEATURES]


def rows_reader(rows: int) -> pa.RecordBatchReader:
    """`rows` rows of ascending keys and random features, in batches that cost nothing to make."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, BATCH_ROWS):
            count = min(BATCH_ROWS, rows - start)
            key = from_numpy(np.arange(start, start + count))
            yield pa.RecordBatch.from_arrays([key, *(column[:count] for column in _VALUES)], schema=_SCHEMA)

    return pa.RecordBatchReader.from_batches(_SCHEMA, batches())


def slice_load(rows: int) -> SliceLoad:
    """The same rows as a slice of predictions, as the asset hands it to the pool."""
    log = LogRow(
        scoring="bench",
        partition_key=SLICE,
        model_sha256="0" * 64,
        rows=rows,
        fingerprint=Fingerprint(rows),
        seconds=0.0,
        run_id="0" * 36,
        scored_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        statistics="{}",
    )
    return SliceLoad(log, StagedRows(partial(rows_reader, rows), keys_ascend=True))
