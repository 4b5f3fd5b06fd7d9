"""What killed runs leave on a server: tables of loads, and of landings that nothing loaded."""

from collections.abc import Callable, Collection

from onnx_pipeline.pools.tsql import app_locks
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import STAGING_PREFIX, drop_table, is_of, resource_of, staging_tables

__all__ = ["LEFTOVER_HOURS", "drop_abandoned", "drop_old"]

LEFTOVER_HOURS = 24
"""Younger than this, what was left behind may be of a run that Dagster here knows nothing of."""


def drop_abandoned(session: Session) -> None:
    """Drop the staging tables of loads that ended without doing so: those whose lock nobody holds."""
    for schema, name in session.rows(*staging_tables(STAGING_PREFIX)):
        with app_locks.attempt(session, resource_of(name)) as is_abandoned:
            if is_abandoned:
                session.execute(drop_table(schema, name))


def drop_old(session: Session, prefix: str, unfinished: Callable[[], Collection[str]] | None) -> None:
    """Drop what is old and of no unfinished run. Outside a run nobody knows which those are, so nothing is."""
    if unfinished is None:
        return
    old = session.rows(*staging_tables(prefix, older_than_hours=LEFTOVER_HOURS))
    going = unfinished() if old else ()
    for schema, name in old:
        if not is_of(name, going):
            session.execute(drop_table(schema, name))
