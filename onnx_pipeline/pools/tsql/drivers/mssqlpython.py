"""Microsoft's mssql-python: Arrow batches both ways.

Measured with 28 REAL columns on a 2-core machine with the server on it: `arrow_reader` 590K rows/s, `bulkcopy_arrow` 290K
to 550K. The bulk copy opens a connection of its own, so it is outside our transaction and sees no temporary table.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import mssql_python
import pyarrow as pa
from mssql_python.exceptions import ConnectionStringParseError
from mssql_python.exceptions import Exception as DriverError

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.tsql.connections import Address, odbc_string
from onnx_pipeline.pools.tsql.drivers.arrow_types import aligned, from_description
from onnx_pipeline.pools.tsql.drivers.base import WatchedBatches
from onnx_pipeline.pools.tsql.drivers.system_libraries import missing_libraries, packages
from onnx_pipeline.pools.tsql.lasting import check_host
from onnx_pipeline.pools.tsql.uuids import uuid_from_text

__all__ = ["MssqlPythonDriver"]

_FETCHED_BYTES = 64_000_000
"""Of one batch: the driver allots every cell of it the most that its column may hold."""
_WIDEST_TEXT = 4000
"""Characters: longer texts are fetched one by one, and have no room of their own."""


class MssqlPythonDriver:
    """The driver behind `mssql+mssqlpython://`."""

    name = "mssqlpython"

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        # RuntimeError and ValueError come out of its native parts.
        return (DriverError, ConnectionStringParseError, RuntimeError, ValueError, OSError)

    def connect(self, address: Address, login_seconds: int) -> Any:
        """A connection; SpecError where the system lacks a library that Microsoft's ODBC driver loads."""
        check_host(address)
        # Its own pool would hand a broken connection to the retry.
        mssql_python.pooling(enabled=False)
        try:
            return mssql_python.connect(odbc_string(address), autocommit=True, timeout=login_seconds)
        except self.errors:
            # All that the driver says then is that it could not be loaded. Asked only here: what connects lacks nothing.
            missing = missing_libraries(self.name)
            if not missing:
                raise
            raise SpecError(
                f"the driver mssql-python is installed and cannot connect without {' and '.join(missing)}, which this "
                f"system does not have; {packages(self.name, missing)}"
            ) from None

    def reader(self, cursor: Any, batch_rows: int, statement: str) -> pa.RecordBatchReader:
        columns = cursor.description
        row_bytes = sum(_room(column) for column in columns)
        try:
            source = cursor.arrow_reader(batch_size=max(1, min(batch_rows, _FETCHED_BYTES // row_bytes)))
        except RuntimeError as error:
            # Of SQL_VARIANT, say. A table that holds one may be looked at, and its other columns read.
            if "Unsupported data type for Arrow" not in str(error) or cursor.fetchone() is not None:
                raise
            schema = pa.schema([(column[0], from_description(column)) for column in columns])
            return pa.RecordBatchReader.from_batches(schema, [])
        # The driver has a UNIQUEIDENTIFIER's text only, as if it were any text.
        uuids = [index for index, column in enumerate(columns) if column[1] is uuid.UUID]
        if not uuids:
            return source
        schema = source.schema
        for index in uuids:
            schema = schema.set(index, pa.field(schema.names[index], pa.uuid()))

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in source:
                arrays = [
                    uuid_from_text(array) if index in uuids else array for index, array in enumerate(batch.columns)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def copy(self, connection: Any, table: str, names: Sequence[str], batches: WatchedBatches) -> None:
        cursor = connection.cursor()
        try:
            reader = pa.RecordBatchReader.from_batches(batches.schema, map(_aligned, batches))
            # timeout=0 means none: a slice takes as long as it takes.
            cursor.bulkcopy_arrow(
                table, reader, timeout=0, table_lock=True, keep_nulls=True, column_mappings=list(names)
            )
        except BaseException as error:
            # A failed assertion of its native part is no Exception.
            if type(error).__name__ == "PanicException":
                raise RuntimeError(f"mssql-python's bulk copy: {error}") from error
            raise
        finally:
            cursor.close()


def _aligned(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([aligned(column) for column in batch.columns], schema=batch.schema)


def _room(column: Sequence[Any]) -> int:
    """Bytes that a cell of a column takes in the driver's memory; `column` is one of `cursor.description`."""
    _, kind, _, size, *_ = column
    return 16 if kind is not str else 4 * min(size or _WIDEST_TEXT, _WIDEST_TEXT)
