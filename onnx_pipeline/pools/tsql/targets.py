"""The target's table on a T-SQL server: made where it is missing, looked at where it stands."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.records import LOG_TABLE, Standing, Target
from onnx_pipeline.pools.scoring_log import log_table
from onnx_pipeline.pools.tables import check_columns, split_name
from onnx_pipeline.pools.tsql import kept, scoring_log
from onnx_pipeline.pools.tsql.dialect import quoted
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import standing, stored_schema, target_table

__all__ = ["check", "ensure"]


class _Server(Protocol):
    """What of a pool this needs."""

    sql_folder: Any
    transactional_ddl: ClassVar[bool]

    def retried(self, purpose: str, work: Callable[[Session], Any]) -> Any: ...
    def columns_of(self, statement: sa.Select[Any]) -> pa.Schema: ...
    def target_statements(self, target: Target) -> list[Any]: ...
    def column_text(self, column: sa.Column[Any]) -> str: ...


def ensure(server: _Server, target: Target, scoring: str | None) -> str:
    """`Pool.ensure_target`."""

    def work(session: Session) -> Standing:
        kept.prepare(session, server.sql_folder, LOG_TABLE, log_table().c.keys())
        found = standing(session, target.table)
        # Of two that find it missing, neither may take out of the log what the other has loaded since.
        stale = scoring_log.runs(session, scoring, found.name) if scoring is not None and not found.exists else []
        if stale:
            found = standing(session, target.table)
        if found.exists:
            return found
        # All or nothing: a table without its index would stay without it. Where a server makes tables outside of
        # transactions the log comes first, so that it never says of a new table what stood in the one before.
        with session.transaction() if server.transactional_ddl else nullcontext():
            if scoring is not None:
                scoring_log.forget(session, scoring, found.name, stale)
            for statement in server.target_statements(target):
                session.execute(statement)
        return found

    purpose = f"preparing table {target.table}"
    try:
        found: Standing = server.retried(purpose, work)
    except PoolError as error:
        if error.transient:
            raise
        # Somebody else may have made one of the tables a moment ago: then this time it is there.
        found = server.retried(purpose, work)
    if found.exists:
        _check_columns(server, target)
    return found.name


def check(server: _Server, target: Target) -> bool:
    """`Pool.check_target`."""
    purpose = f"looking at table {target.table}"
    stands = bool(server.retried(purpose, lambda session: standing(session, target.table).exists))
    if stands:
        _check_columns(server, target)
    return stands


def _check_columns(server: _Server, target: Target) -> None:
    schema, name = split_name(target.table)
    actual = server.columns_of(sa.select(sa.text("*")).select_from(sa.table(name, schema=schema)))
    stored = replace(target, schema=stored_schema(target.schema))
    check_columns(stored, actual, target_table(target), server.column_text, quoted)
