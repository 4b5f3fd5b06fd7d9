"""What the two Python drivers for SQL Server have in common: signing in, and moving rows as Arrow batches."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from onnx_pipeline.pools.tsql.connections import Address

__all__ = ["Driver", "WatchedBatches"]


class Driver(Protocol):
    """One Python driver."""

    name: str

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """What it raises when the server or the connection fails."""

    def connect(self, address: Address, login_seconds: int) -> Any:
        """A DBAPI connection in autocommit mode, made within that many seconds."""

    def reader(self, cursor: Any, batch_rows: int, statement: str) -> pa.RecordBatchReader:
        """The rows of a SELECT that was executed as Arrow batches, streamed; raises the driver's errors."""

    def copy(self, connection: Any, table: str, names: Sequence[str], batches: "WatchedBatches") -> None:
        """Add rows to a table named by quoted identifiers, outside any transaction of `connection`."""


class WatchedBatches:
    """Batches that a driver pulls; what went wrong while making them is kept, since a driver may hide it."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self._batches = batches
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except Exception as error:
            self.error = error
            raise
