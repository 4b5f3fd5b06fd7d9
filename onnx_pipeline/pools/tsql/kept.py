"""The tables that every pool keeps, on a T-SQL server: made where they are missing, with the columns of this version."""

from collections.abc import Iterable

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.scripts import script, statements_of
from onnx_pipeline.pools.tsql.dialect import literal
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["columns", "prepare"]


def columns(session: Session, table: str) -> frozenset[str]:
    """The names of a table's columns; empty where there is no such table."""
    rows = session.rows(f"SELECT name FROM sys.columns WHERE object_id = OBJECT_ID({literal(table)})")  # noqa: S608
    return frozenset(row[0] for row in rows)


def prepare(session: Session, sql_folder: str, table: str, needed: Iterable[str]) -> None:
    """Make the table, or give one of an earlier version its columns; outside a transaction, as DDL must be.

    Raises PoolError, which says who does it and how, where this user may not.
    """
    if not set(needed) - columns(session, table):
        return
    try:
        for statement in statements_of(script(sql_folder, table)):
            session.execute(statement)
    except PoolError as error:
        if error.transient:
            raise
        # Where nothing locks, somebody else may have done it a moment ago; and who scores may not alter tables.
        missing = sorted(set(needed) - columns(session, table))
        if missing:
            raise PoolError(
                f"{error}. {table} is missing or lacks {_named(missing)}, and this user may not make it: run "
                "`onnx-pipeline sql apply` once, as somebody who may"
            ) from error


def _named(missing: list[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in missing)
    return f"its column {listed}" if len(missing) == 1 else f"its columns {listed}"
