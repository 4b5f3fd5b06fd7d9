"""pyodbc, for machines without mssql-python's Arrow paths: the same rows, row by row, in flat memory.

Measured with 28 REAL columns on a 2-core machine with the server on it: `fetchmany` 170K rows/s, `fast_executemany` 10K.
"""

import datetime
import glob
import importlib.util
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyodbc

from onnx_pipeline.base.arrow import from_numpy
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.tsql.connections import Address, access_token, odbc_string
from onnx_pipeline.pools.tsql.dialect import quoted
from onnx_pipeline.pools.tsql.drivers.arrow_types import from_description
from onnx_pipeline.pools.tsql.drivers.base import WatchedBatches
from onnx_pipeline.pools.tsql.lasting import check_host

__all__ = ["PyodbcDriver"]

_FETCHED_CELLS = 8_000
"""Cells of one `fetchmany`. Every cell is a Python object, and so few of them stay in the processor's cache: half the time
of 500,000 (100K rows of 29 columns: 0.9 s instead of 1.8)."""
_BATCH_CELLS = 500_000
"""Cells of a batch that is handed on."""
_SENT_CELLS = 200_000
"""Cells of one `executemany`: `fast_executemany` holds all of its parameters (300K rows of 155 columns took 10 GB)."""
_DATETIMEOFFSET = -155
_WHOLE_SECONDS = 26
"""Characters of a DATETIMEOFFSET(0)."""


class PyodbcDriver:
    """The driver behind `mssql+pyodbc://`."""

    name = "pyodbc"

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        return (pyodbc.Error,)

    def connect(self, address: Address, login_seconds: int) -> Any:
        check_host(address)
        driver = address.options.get("driver") or _odbc_driver()
        # unixODBC's pool would hand a broken connection to the retry.
        pyodbc.pooling = False
        # Else a UNIQUEIDENTIFIER looks like any text of 36 characters.
        pyodbc.native_uuid = True
        # ODBC's driver knows every way to sign in but this one.
        by_token = address.authentication == "ActiveDirectoryDefault"
        connection = pyodbc.connect(
            odbc_string(address, driver=driver, sign_in=not by_token),
            autocommit=True,
            timeout=login_seconds,
            attrs_before=access_token(address) if by_token else {},
        )
        connection.add_output_converter(_DATETIMEOFFSET, _datetimeoffset)
        # As UTF-16: else the ODBC driver converts VARCHAR to the process's locale, and loses what that lacks.
        connection.setdecoding(pyodbc.SQL_CHAR, encoding="utf-16-le", ctype=pyodbc.SQL_WCHAR)
        return connection

    def reader(self, cursor: Any, batch_rows: int, statement: str) -> pa.RecordBatchReader:
        columns = cursor.description
        count = max(1, min(batch_rows, _FETCHED_CELLS // len(columns)))
        most = max(1, min(batch_rows, _BATCH_CELLS // len(columns)))
        first: list[Any] = []
        kinds: list[pa.DataType | None] = [None]
        while None in kinds and len(first) < most:
            rows = cursor.fetchmany(count)
            first += rows
            kinds = [_arrow_type(column, (row[index] for row in first)) for index, column in enumerate(columns)]
            if not rows:
                break
        if None in kinds:
            # Of rows that are all NULL the type does not matter; of no rows, as when a table is looked at, it does.
            described = [pa.string()] * len(kinds) if first else _described(cursor, statement)
            kinds = [kind or other for kind, other in zip(kinds, described, strict=True)]
        schema = pa.schema([(column[0], kind) for column, kind in zip(columns, kinds, strict=True)])

        def parts() -> Iterator[pa.RecordBatch]:
            rows = first
            while rows:
                arrays = [
                    _array(cells, field.type) for cells, field in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                rows = cursor.fetchmany(count)

        return pa.RecordBatchReader.from_batches(schema, _together(parts(), max(1, most // count)))

    def copy(self, connection: Any, table: str, names: Sequence[str], batches: WatchedBatches) -> None:
        columns = ", ".join(quoted(name) for name in names)
        insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - quoted names
        count = max(1, _SENT_CELLS // len(names))
        cursor = connection.cursor()
        try:
            cursor.fast_executemany = True
            for batch in batches:
                for start in range(0, batch.num_rows, count):
                    part = batch.slice(start, count)
                    cursor.executemany(insert, list(zip(*(_sendable(column) for column in part.columns), strict=True)))
        finally:
            cursor.close()


def _together(parts: Iterator[pa.RecordBatch], count: int) -> Iterator[pa.RecordBatch]:
    """The same rows in larger batches, of `count` parts each."""
    while some := list(islice(parts, count)):
        yield pa.concat_batches(some)


def _odbc_driver() -> str:
    """Microsoft's ODBC driver: the installed one, else the library in the wheel that comes with mssql-python."""
    installed = sorted(name for name in pyodbc.drivers() if name.startswith("ODBC Driver ") and "SQL Server" in name)
    if installed:
        return str(installed[-1])
    wheel = importlib.util.find_spec("mssql_python_odbc")
    if wheel is not None and wheel.origin is not None:
        pattern = Path(wheel.origin).parent / "libs" / "linux" / "debian_ubuntu" / "*" / "lib" / "libmsodbcsql-18*.so*"
        found = sorted(glob.glob(str(pattern)))  # noqa: PTH207 - the pattern is absolute
        if found:
            return found[-1]
    raise SpecError(
        "pyodbc finds no ODBC driver for SQL Server: install Microsoft's ODBC Driver 18 or the package mssql-python, "
        "or name one in the pool's URL: ?driver=<name or path>"
    )


def _arrow_type(column: Sequence[Any], values: Iterable[Any]) -> pa.DataType | None:
    """The Arrow type of a column of `cursor.description`; None where that and the values leave it open.

    pyodbc describes what has a converter as text. A DATETIMEOFFSET is known by its scale; without fractions of a
    second, where 26 characters would look the same, by its values.
    """
    _, kind, _, size, _, scale, *_ = column
    if kind is not str:
        return from_description(column)
    if size != _WHOLE_SECONDS:
        return pa.timestamp("us", "UTC") if scale else pa.string()
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    return pa.timestamp("us", "UTC") if isinstance(known, datetime.datetime) else pa.string()


def _described(cursor: Any, statement: str) -> list[pa.DataType]:
    """The types of columns of 26 characters, as the server describes the statement's columns."""
    cursor.execute("EXEC sp_describe_first_result_set @tsql = ?", [statement])
    offset = pa.timestamp("us", "UTC")
    return [offset if str(row.system_type_name).startswith("datetimeoffset") else pa.string() for row in cursor]


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """`[N]` cells of a column → `[N]`; numbers by way of numpy, since `pa.array` imports pandas, 0.3 s of a process."""
    if kind == pa.uuid():
        storage = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
        return pa.ExtensionArray.from_storage(kind, storage)
    if pa.types.is_floating(kind):
        # None becomes NaN here, and no server sends a NaN of its own.
        numbers = np.array(values, kind.to_pandas_dtype())
        absent = np.isnan(numbers)
        array = from_numpy(numbers)
        return pc.if_else(from_numpy(absent), pa.nulls(len(array), kind), array) if absent.any() else array
    if pa.types.is_integer(kind) and None not in values:
        return from_numpy(np.array(values, kind.to_pandas_dtype()))
    return pa.array(values, kind)


def _datetimeoffset(value: bytes) -> datetime.datetime:
    """SQL_SS_TIMESTAMPOFFSET_STRUCT: year, month, day, hour, minute, second, nanoseconds, offset hours and minutes."""
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", value)
    zone = datetime.timezone(datetime.timedelta(hours=hours, minutes=minutes))
    return datetime.datetime(year, month, day, hour, minute, second, nanoseconds // 1000, zone)


def _sendable(array: pa.Array) -> list[Any]:
    """`[N]` values as pyodbc binds them; it would drop a time's zone."""
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = pc.strftime(array.cast(pa.timestamp("us", "UTC")), "%Y-%m-%d %H:%M:%S +00:00")
    values: list[Any] = array.to_pylist()
    return values
