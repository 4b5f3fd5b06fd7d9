"""Predictions that a T-SQL server computed, in a table of its own beside the target until they are loaded or replaced."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.landing import LandedSlice, Landing, ServerScript
from onnx_pipeline.pools.rows import StoredTable
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.app_locks import resource_name
from onnx_pipeline.pools.tsql.dialect import OldDateTime, mark_type, quoted
from onnx_pipeline.pools.tsql.insert_exec import insert_exec
from onnx_pipeline.pools.tsql.models import kept_sha256
from onnx_pipeline.pools.tsql.select_into import SelectInto
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import drop_table, landing_name, landing_table

__all__ = ["TableLanding"]


class TableLanding(Landing):
    """A table `onnx_landing_…` in the target's schema."""

    def __init__(self, piece: LandedSlice, server: Server, run_id: str) -> None:
        super().__init__(piece)
        self._server = server
        named, table = split_name(piece.target.table)
        schema = named or str(server.retried("landing", lambda each: each.scalar("SELECT SCHEMA_NAME() AS name")))
        resource = resource_name(quoted(schema, table), piece.partition_key)
        name = landing_name(resource, run_id, uuid.uuid4().hex[:8])
        standing = server.retried("landing", lambda session: server.as_standing(session, piece.target))
        self._between: Sequence[str] = ()
        """Tables of what a statement gave that another one reads."""
        self.table = landing_table(standing, self._marks(), schema, name)

    def _marks(self) -> Mapping[str, Any]:
        """The SQL types of what passes through beside the key."""
        key = self._piece.target.key
        return {field.name: self._mark_type(field) for field in self._piece.marks if field.name not in key}

    def _mark_type(self, field: pa.Field) -> Any:
        if pa.types.is_binary(field.type):
            # A ROWVERSION, say, has no form as a column of ours, and tells very well what changed.
            return sa.VARBINARY(8000)
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            # A DATETIME reads otherwise once it has become a DATETIME2: what is logged would never be what is found.
            source = self.features.subquery("source")
            column = source.c[field.name]
            asked = sa.select(self._server.base_type(column).label("base_type")).where(column.is_not(None)).limit(1)
            if self._server.retried("landing", lambda session: session.scalar(asked)) == "datetime":
                return OldDateTime()
        return mark_type(field.type, self._server.second_digits, column=field.name)

    def _execute(self, script: ServerScript) -> None:
        schema = str(self.table.schema)
        statement = insert_exec(self.table, (*self.marks, *self.outputs), script)

        def work(session: Session) -> None:
            session.execute(drop_table(schema, self.table.name))
            session.execute(self._server.staging_statement(self.table))
            session.execute(statement)

        self._server.retried(f"landing predictions of {self._piece.target.table}", work)

    def register(self, sha256: str, data: bytes, signature: str, form: str) -> int:
        name, wanted = self._piece.scoring, hashlib.sha256(data).hexdigest()
        number = self._server.register_model(name, sha256, data, signature, form)
        kept = self._server.retried("looking at a registered model", lambda session: kept_sha256(session, number))
        if kept == wanted:
            return number
        return self._server.register_model(f"{name} ({wanted[:12]})", sha256, data, signature, form)

    def _fill(self, statement: sa.Select[Any], more: Sequence[Callable[[sa.FromClause], sa.Select[Any]]]) -> None:
        names = (*self.marks, *self.outputs)
        schema = str(self.table.schema)
        self._between = between = [f"{self.table.name}s{number}" for number in range(1, len(more) + 1)]

        def work(session: Session) -> None:
            # An attempt that broke may have got as far as the tables, or as their rows.
            for name in (self.table.name, *between):
                session.execute(drop_table(schema, name))
            session.execute(self._server.staging_statement(self.table))
            selected = statement
            for name, over in zip(between, more, strict=True):
                session.execute(SelectInto(selected, sa.table(name, schema=schema)))
                selected = over(
                    sa.table(name, *(sa.column(str(c.key), c.type) for c in selected.selected_columns), schema=schema)
                )
            session.execute(sa.insert(self.table).from_select(list(names), selected))
            for name in between:
                session.execute(drop_table(schema, name))

        self._server.retried(f"landing predictions of {self._piece.target.table}", work)

    @property
    def rows(self) -> sa.FromClause:
        return self.table.alias("landed")

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        return self._server.fetch(statement)

    def distinct(self, column: sa.ColumnElement[Any]) -> Sequence[sa.ColumnElement[Any]]:
        if not isinstance(column.type, sa.String):
            return [column]
        # Blanks at its end count for no collation, so a text's length is told beside it.
        return [column.collate(self._server.exact_collation), sa.func.datalength(column)]

    def stored(self, rows: int) -> StoredTable:
        return self._server.stored_table(self._piece.target, f"{self.table.schema}.{self.table.name}")

    def discard(self) -> None:
        for name in (self.table.name, *self._between):
            self._server.discard(f"{self.table.schema}.{name}")
