"""What loading and landing ask of the pool that they work for: the places where one T-SQL server differs from another."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.records import LogRow, Target
from onnx_pipeline.pools.rows import StoredTable
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.transient import Retries

__all__ = ["Server"]


class Server(Protocol):
    """A pool, as the modules see it that it is made of."""

    slice_limit: int | None
    """Most bytes of one transaction."""

    @property
    def second_digits(self) -> int:
        """Most digits of a second's fraction that a DATETIME2, DATETIMEOFFSET or TIME has there."""

    @property
    def text_is_utf8(self) -> bool | None:
        """Whether the columns that we make hold text as UTF-8 or as UTF-16; None: ask the server."""

    @property
    def exact_collation(self) -> str:
        """What compares texts by code point."""

    @property
    def display_name(self) -> str: ...

    @property
    def retries(self) -> Retries: ...

    def session(self, purpose: str) -> Session:
        """A connection."""

    def base_type(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The name of a value's type: `datetime` for the old one, which Arrow does not tell from DATETIME2."""

    def retried(self, purpose: str, work: Callable[[Session], Any]) -> Any:
        """`work(session)`, again from its start where the connection breaks: for what may be done twice."""

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        """The rows of a small result."""

    def as_standing(self, session: Session, target: Target) -> Target:
        """The target with the collations that its table has, where it stands already."""

    def stored_table(self, target: Target, table: str) -> StoredTable:
        """A table of the pool, with what tells a later load whether it was touched."""

    def register_model(self, name: str, sha256: str, data: bytes, signature: str, form: str | None = None) -> int:
        """The id of a model's row in the models table, which is made where it is missing."""

    def discard(self, table: str) -> None:
        """Drop a table that a landing left, where it is still there."""

    def guard(self, session: Session, resource: str) -> AbstractContextManager[None]:
        """Hold, for as long as the session lives, what nobody else may load at the same time."""

    def clear(self, session: Session, resource: str, table: sa.Table) -> None:
        """Drop what earlier attempts at a slice left, while its lock is held."""

    def sweep(self, session: Session) -> None:
        """Drop what loads and landings left that ended without doing so."""

    def staging_statement(self, table: sa.Table) -> Any:
        """What makes a staging table."""

    def stage(
        self, session: Session, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], log: LogRow
    ) -> None:
        """Fill an empty staging table, outside any transaction."""
