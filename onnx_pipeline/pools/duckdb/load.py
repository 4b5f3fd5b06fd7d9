"""A slice on its way into a table of DuckDB: straight from staging, inside the transaction that logs it."""

from typing import Any

import duckdb
import sqlalchemy as sa

from onnx_pipeline.base.errors import AlreadyLoadedError
from onnx_pipeline.pools.duckdb.statements import execute, scalar
from onnx_pipeline.pools.records import LOG_TABLE, Loaded, LogRow, SliceLoad, Target
from onnx_pipeline.pools.scripts import script
from onnx_pipeline.pools.tables import log_record, log_table

__all__ = ["create_log", "load_slice", "write_log"]


def load_slice(
    connection: duckdb.DuckDBPyConnection, table: sa.Table, target: Target, piece: SliceLoad, mode: str
) -> Loaded:
    """Put one slice into the target, within the transaction that the connection is in.

    Raises `AlreadyLoadedError` for `append` of a slice that the log has.
    """
    log = piece.log
    in_slice = table.c.partition_key == log.partition_key
    provenance = (
        sa.literal(log.partition_key).label("partition_key"),
        sa.literal(log.model_sha256).label("model_sha256"),
        sa.literal(log.scored_at.replace(tzinfo=None)).label("scored_at"),
        sa.literal(log.run_id).label("run_id"),
    )
    deleted = updated = null_keys = duplicates = 0
    if mode == "append" and _is_logged(connection, log):
        raise AlreadyLoadedError(
            f"{log.scoring}: partition {log.partition_key!r} stands in {target.table} already, and `load: append` "
            "loads a slice once. Use `load: replace` to score it again, or delete its row from "
            f"{LOG_TABLE} together with its rows in {target.table}."
        )
    if mode == "replace":
        deleted = execute(connection, sa.delete(table).where(in_slice))
    reader = piece.open()
    connection.register("staged_reader", reader)
    try:
        staged = sa.table("staged_reader", *(sa.column(name) for name in target.staged_names))
        if mode == "upsert":
            # Read twice, so it is written down once; temporary tables die with the connection.
            connection.execute("CREATE OR REPLACE TEMP TABLE staged AS FROM staged_reader").fetchall()
            staged = sa.table("staged", *(sa.column(name) for name in target.staged_names))
            if not piece.keys_ascend:
                # In the target, two staged rows of one key would have become one.
                null_keys, duplicates = _key_faults(connection, staged, target)
            matches = sa.and_(*(table.c[name] == staged.c[name] for name in target.key))
            changes: dict[str, sa.ColumnElement[Any]] = {
                name: staged.c[name] for name in target.staged_names if name not in target.key
            }
            changes |= {str(value.name): value for value in provenance}
            updated = execute(connection, sa.update(table).values(changes).where(matches))
            rows = sa.select(*staged.c.values(), *provenance).where(
                ~sa.exists(sa.select(sa.literal(1)).select_from(table).where(matches).correlate(staged))
            )
        else:
            rows = sa.select(*staged.c.values(), *provenance)
        inserted = execute(connection, sa.insert(table).from_select(target.schema.names, rows))
    finally:
        # Not unregistered where it failed: an aborted transaction refuses that, and would hide why it was aborted.
        reader.close()
    connection.unregister("staged_reader")
    ours = sa.and_(in_slice, table.c.run_id == log.run_id)
    present = scalar(connection, sa.select(sa.func.count()).select_from(table).where(ours))
    if mode != "upsert" and not piece.keys_ascend:
        null_keys, duplicates = _key_faults(connection, table, target, ours)
    return Loaded(
        partition_key=log.partition_key,
        inserted=inserted,
        updated=updated,
        deleted=deleted,
        present=present,
        null_keys=null_keys,
        duplicate_keys=duplicates,
    )


def create_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the scoring log where it is missing."""
    connection.execute(script("duckdb", LOG_TABLE)).fetchall()


def _is_logged(connection: duckdb.DuckDBPyConnection, log: LogRow) -> bool:
    table = log_table()
    same = sa.and_(table.c.scoring == log.scoring, table.c.partition_key == log.partition_key)
    return bool(scalar(connection, sa.select(sa.func.count()).select_from(table).where(same)))


def write_log(connection: duckdb.DuckDBPyConnection, log: LogRow) -> None:
    """The slice's row of the scoring log, in place of the one before."""
    table = log_table()
    same = sa.and_(table.c.scoring == log.scoring, table.c.partition_key == log.partition_key)
    execute(connection, sa.delete(table).where(same))
    execute(connection, sa.insert(table).values(log_record(log)))


def _key_faults(
    connection: duckdb.DuckDBPyConnection,
    table: sa.FromClause,
    target: Target,
    where: sa.ColumnElement[bool] | None = None,
) -> tuple[int, int]:
    """How many rows have a NULL in their key, and how many keys occur more than once."""
    where = sa.true() if where is None else where
    keys = [table.c[name] for name in target.key]
    nulls = scalar(
        connection,
        sa.select(sa.func.count()).select_from(table).where(where, sa.or_(*(key.is_(None) for key in keys))),
    )
    repeated = sa.select(sa.literal(1).label("n")).select_from(table).where(where).group_by(*keys)
    groups = repeated.having(sa.func.count() > 1).subquery()
    return nulls, scalar(connection, sa.select(sa.func.count()).select_from(groups))
