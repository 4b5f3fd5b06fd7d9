"""One connection to a T-SQL server: statements in, rows out, the driver's errors turned into ours.

Connections are in autocommit mode, and a transaction is BEGIN and COMMIT as statements: the same on SQL Server and on
Synapse, where a driver's implicit transaction would refuse DDL.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa
from typing_extensions import Self

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.tsql.connections import Address
from onnx_pipeline.pools.tsql.dialect import Statement as BoundStatement
from onnx_pipeline.pools.tsql.dialect import compiled, parameters, quoted
from onnx_pipeline.pools.tsql.drivers.arrow_types import from_driver, to_arrow
from onnx_pipeline.pools.tsql.drivers.base import Driver, WatchedBatches
from onnx_pipeline.pools.tsql.transient import classified

__all__ = ["LOGIN_SECONDS", "Session", "Statement"]

_logger = logging.getLogger(__name__)

LOGIN_SECONDS = 30
"""Seconds that a connection may take: a serverless database wakes up within that time or answers that it will."""

Statement: TypeAlias = BoundStatement | str

_opened: set[tuple[str, str]] = set()
"""Server and database of what this process had open: it exists, and its login may open it."""


class Session:
    """A connection for one purpose; to be closed, and useless once it raised PoolUnavailableError.

    Where it is closed as it was opened, `keep` is offered it, for another purpose: True says that it was taken.
    """

    def __init__(
        self, driver: Driver, address: Address, purpose: str, *, finish: Callable[[str, str], str] | None = None,
        redacted: Callable[[str], str] | None = None, login_seconds: int = LOGIN_SECONDS,
        keep: Callable[["Session"], bool] | None = None,
    ) -> None:  # fmt: skip
        self.driver = driver
        self._keep = keep
        self._is_spoilt = False
        """Something failed, or was left in its middle: what the server holds for it then nobody knows."""
        self._address = address
        self.purpose = purpose
        self._finish = finish or (lambda statement, _: statement)
        self._redacted = redacted or address.redacted
        self.is_closed = False
        with self._errors():
            self._connection = driver.connect(address, login_seconds)
        _opened.add(self._database)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PoolError:
            self._is_spoilt = True
            raise
        except self.driver.errors as error:
            self._is_spoilt = True
            where = f"{self._address.display_name}, {self.purpose}"
            # Without the original as its cause: what a driver says of a connection string is not ours to vouch for.
            raise classified(
                error,
                where,
                self._redacted(str(error)),
                server=self._address.server,
                was_open=self._database in _opened,
            ) from None

    @property
    def _database(self) -> tuple[str, str]:
        return self._address.server.casefold(), self._address.database.casefold()

    def _run(self, text: str, values: Sequence[Any] = ()) -> Any:
        """The cursor of an executed statement."""
        cursor = self._connection.cursor()
        if values:
            cursor.execute(text, list(values))
        else:
            cursor.execute(text)
        return cursor

    def _bound(self, statement: Statement, values: Sequence[Any] = ()) -> tuple[str, Sequence[Any]]:
        """The statement as it is sent, and its values."""
        if isinstance(statement, str):
            return self._finish(statement, self.purpose), values
        made = compiled(statement)
        return self._finish(str(made), self.purpose), parameters(made)

    def execute(self, statement: Statement, values: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows that it touched, -1 where the server does not say."""
        with self._errors():
            cursor = self._run(*self._bound(statement, values))
            try:
                touched = int(cursor.rowcount)
                # What fails in a later part of a batch is told only when its result is asked for.
                while cursor.nextset():
                    pass
                return touched
            finally:
                cursor.close()

    def rows(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        with self._errors():
            cursor = self._run(*self._bound(statement, values))
            try:
                # A batch's first result may be a message or a count, and no rows.
                while cursor.description is None and cursor.nextset():
                    pass
                return [tuple(row) for row in cursor.fetchall()]
            finally:
                cursor.close()

    def scalar(self, statement: Statement, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row; None where there is no row."""
        rows = self.rows(statement, values)
        return rows[0][0] if rows else None

    @contextmanager
    def reader(self, statement: Statement, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """The rows of a large result as Arrow batches, streamed."""
        with self._errors():
            text, values = self._bound(statement)
            cursor = self._run(text, values)
            source = self.driver.reader(cursor, batch_rows, text)
        schema = pa.schema([from_driver(field) for field in source.schema])

        left = True

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal left
            with self._errors():
                for batch in source:
                    yield _cast(batch, schema)
            left = False

        try:
            yield pa.RecordBatchReader.from_batches(schema, batches())
        finally:
            self._is_spoilt |= left
            self._quietly(cursor.close)

    def copy(self, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Add rows to a table in bulk, outside any transaction."""
        watched = WatchedBatches(schema, batches)
        try:
            with self._errors():
                # Two-part names: bulk copy does not find a table in the default schema by its name alone.
                self.driver.copy(self._connection, quoted(table.schema, table.name), schema.names, watched)
        except PoolError as error:
            if watched.error is not None:
                raise watched.error from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block, or nothing."""
        self.execute("BEGIN TRANSACTION")
        try:
            yield
            self.execute("COMMIT TRANSACTION")
        except BaseException:
            # A broken connection and a deadlock have rolled back already.
            try:
                self.execute("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            except PoolError as error:
                _logger.debug("rolling back: %s", error)
            raise

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._is_spoilt or self._keep is None or not self._keep(self):
            self.end()

    def end(self) -> None:
        """Close the connection itself."""
        self._quietly(self._connection.close)

    def reopen(self, purpose: str) -> None:
        """Another use of a connection that was kept when this was closed."""
        self.purpose = purpose
        self.is_closed = False

    def _quietly(self, close: Callable[[], object]) -> None:
        """Close something whose connection may be gone already."""
        try:
            with self._errors():
                close()
        except PoolError as error:
            _logger.debug("closing: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_spoilt |= kind is not None
        self.close()


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        array if array.type == field.type else to_arrow(array, field.type)
        for array, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
