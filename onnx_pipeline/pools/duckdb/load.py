"""A slice on its way into a table of DuckDB: straight from staging, inside the transaction that logs it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import sqlalchemy as sa

from onnx_pipeline.pools.duckdb.statements import execute, scalar
from onnx_pipeline.pools.records import LOG_TABLE, Loaded, SliceLoad, Target, Verify
from onnx_pipeline.pools.scripts import script
from onnx_pipeline.pools.swap import KeyFaults, key_faults, swap

__all__ = ["Statements", "create_log", "load_slice"]


@dataclass(frozen=True)
class Statements:
    """Runs statements on a connection, within whatever transaction that is in."""

    connection: duckdb.DuckDBPyConnection

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return execute(self.connection, statement)

    def scalar(self, statement: sa.Select[Any]) -> Any:
        return scalar(self.connection, statement)


def load_slice(
    connection: duckdb.DuckDBPyConnection,
    table: sa.Table,
    target: Target,
    piece: SliceLoad,
    mode: str,
    verify: Verify,
    started: float,
) -> Loaded:
    """Put one slice into the target, within the transaction that the connection is in.

    Raises AlreadyLoadedError for `append` of a slice that the log has, and what `verify` raises.
    """
    session, log = Statements(connection), piece.log
    reader = piece.open()
    connection.register("staged_reader", reader)
    try:
        name = "staged_reader"
        where = sa.and_(table.c.partition_key == log.partition_key, table.c.run_id == log.run_id)
        # The rows can be read once, so their keys are looked at where they went.
        faults = partial(key_faults, session, table, target, where)
        if mode == "upsert":
            # Read twice, so it is written down once; temporary tables die with the connection.
            connection.execute("CREATE OR REPLACE TEMP TABLE staged AS FROM staged_reader").fetchall()
            name = "staged"
            # In the target, two staged rows of one key would have become one.
            faults = partial(key_faults, session, _rows(name, target), target)
        loaded = swap(
            session, table, target, log, mode, _rows(name, target), verify,
            faults=_none if piece.keys_ascend else faults, started=started,
        )  # fmt: skip
    finally:
        # Not unregistered where it failed: an aborted transaction refuses that, and would hide why it was aborted.
        reader.close()
    connection.unregister("staged_reader")
    return loaded


def _none() -> KeyFaults:
    return 0, 0


def _rows(name: str, target: Target) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in target.staged_names))


def create_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the scoring log where it is missing."""
    connection.execute(script("duckdb", LOG_TABLE)).fetchall()
