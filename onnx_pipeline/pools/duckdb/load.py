"""A slice on its way into a table of DuckDB: straight from staging, inside the transaction that logs it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.pools.duckdb.statements import collations_of, execute, exists, parquet, reader, rows, scalar
from onnx_pipeline.pools.records import LOG_TABLE, Loaded, LogRow, SliceLoad, Target, Verify, is_empty
from onnx_pipeline.pools.rows import StagedRows, StoredFiles, StoredRows, StoredTable, no_rows
from onnx_pipeline.pools.scripts import script
from onnx_pipeline.pools.swap import KeyFaults, key_faults, swap, swap_empty
from onnx_pipeline.pools.tables import split_name, target_table

__all__ = ["Statements", "create_log", "load_slice", "load_slices", "measures", "transaction"]


@dataclass(frozen=True)
class Statements:
    """Runs statements on a connection, within whatever transaction that is in."""

    connection: duckdb.DuckDBPyConnection

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return execute(self.connection, statement)

    def scalar(self, statement: sa.Select[Any]) -> Any:
        return scalar(self.connection, statement)

    def rows(self, statement: sa.Select[Any]) -> list[tuple[Any, ...]]:
        return rows(self.connection, statement)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[Statements]:
    """Everything in the block, or nothing."""
    connection.begin()
    try:
        yield Statements(connection)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def load_slices(
    connection: duckdb.DuckDBPyConnection, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify
) -> Iterator[Loaded]:
    """Load slice after slice, each within a transaction of its own, those without rows many at a time.

    Raises AlreadyLoadedError for `append` of a slice that the log has, and what `verify` raises.
    """
    table = target_table(target)
    with _in_any_order(connection):
        create_log(connection)
        if target.collations:
            # As it stands: it may be older than the source's collations.
            target = replace(target, collations=collations_of(connection, table, list(target.collations)))
        empty: list[LogRow] = []
        for piece in slices:
            if is_empty(piece):
                empty.append(piece.log)
            # What waits goes first: a slice that is refused ends this, and what was begun is not asked for again.
            if empty and (len(empty) == _EMPTY_AT_ONCE or not is_empty(piece)):
                with transaction(connection):
                    logged = _load_empty(connection, table, target, empty, mode, verify)
                empty = []
                yield from logged
            if is_empty(piece):
                continue
            started = time.monotonic()
            with transaction(connection):
                loaded = load_slice(connection, table, target, piece, mode, verify, started)
            yield replace(loaded, seconds=time.monotonic() - started)
        if empty:
            with transaction(connection):
                logged = _load_empty(connection, table, target, empty, mode, verify)
            yield from logged


@contextmanager
def _in_any_order(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Within the block rows are inserted in no order: to keep one, DuckDB lets one thread work where memory is short.

    Of 3M rows with three outputs within the pool's limit 0.65 s, and 1.05 in order. Around transactions, not within one.
    """
    connection.execute("SET preserve_insertion_order = false").fetchall()
    try:
        yield
    finally:
        connection.execute("RESET preserve_insertion_order").fetchall()


def load_slice(
    connection: duckdb.DuckDBPyConnection,
    table: sa.Table,
    target: Target,
    piece: SliceLoad,
    mode: str,
    verify: Verify,
    started: float,
) -> Loaded:
    """Put one slice into the target, within the transaction that the connection is in."""
    rows = piece.rows
    if isinstance(rows, StagedRows):
        return _from_stream(connection, table, target, piece.log, mode, verify, started, rows)
    return _from_store(connection, table, target, piece.log, mode, verify, started, rows)


_ROW_GROUP = 122_880
_GROUPED_VALUES = 20_000_000
"""Of keys that are grouped at once, to find one that occurs twice. Under the pool's limit of memory DuckDB refuses 20M rows of
three columns, and 100M of one, though it writes groups to disk. To read 100M keys once more for another part takes half a second."""

_EMPTY_AT_ONCE = 100
"""Most slices without rows that one transaction logs."""


def _load_empty(
    connection: duckdb.DuckDBPyConnection, table: sa.Table, target: Target, logs: Sequence[LogRow], mode: str,
    verify: Verify,
) -> list[Loaded]:  # fmt: skip
    """Log slices without rows, within the transaction that the connection is in.

    A backfill of a long history meets hundreds of them: what each costs alone is a dozen statements. Those whose rows
    stand in the target are loaded one by one, which takes the rows out.
    """
    started = time.monotonic()
    left = swap_empty(Statements(connection), table, logs, mode, verify)
    replaced = {
        log.partition_key: load_slice(
            connection, table, target, SliceLoad(log, no_rows(target.staged_schema)), mode, verify, time.monotonic()
        )
        for log in left
    }
    each = (time.monotonic() - started) / len(logs)
    nothing = [Loaded(log.partition_key, 0, 0, 0, 0, 0, 0) for log in logs]
    return [replace(replaced.get(loaded.partition_key, loaded), seconds=each) for loaded in nothing]


def _from_stream(
    connection: duckdb.DuckDBPyConnection, table: sa.Table, target: Target, log: LogRow, mode: str, verify: Verify,
    started: float, rows: StagedRows,
) -> Loaded:  # fmt: skip
    session = Statements(connection)
    staged = rows.open()
    stream = pa.RecordBatchReader.from_batches(staged.schema, _by_row_groups(staged))
    connection.register("staged_reader", stream)
    try:
        name = "staged_reader"
        where = sa.and_(table.c.partition_key == log.partition_key, table.c.run_id == log.run_id)
        # The rows can be read once, so their keys are looked at where they went.
        faults = _key_faults(session, table, target, log.rows, where)
        if mode == "upsert":
            # Read twice, so it is written down once; temporary tables die with the connection.
            connection.execute("CREATE OR REPLACE TEMP TABLE staged AS FROM staged_reader").fetchall()
            name = "staged"
            # In the target, two staged rows of one key would have become one.
            faults = _key_faults(session, _collated(_rows(name, target), target), target, log.rows)
        loaded = swap(
            session, table, target, log, mode, _collated(_rows(name, target), target), verify,
            faults=KeyFaults if rows.keys_ascend else faults, started=started,
        )  # fmt: skip
    finally:
        # Not unregistered where it failed: an aborted transaction refuses that, and would hide why it was aborted.
        stream.close()
        staged.close()
    connection.unregister("staged_reader")
    return loaded


def _key_faults(
    session: Statements, rows: sa.FromClause, target: Target, count: int, where: sa.ColumnElement[bool] | None = None
) -> Callable[[], KeyFaults]:
    """Looks at the keys of a slice of so many rows, once it is asked to."""
    return partial(key_faults, session, rows, target, where, parts=_parts(rows, target, count))


def _parts(rows: sa.FromClause, target: Target, count: int) -> list[sa.ColumnElement[bool]]:
    """Conditions that split so many rows by a hash of their keys, each key to one part."""
    # Two texts that a collation holds equal have two hashes.
    columns = [rows.c[name] for name in target.key if name not in target.collations]
    parts = -(-count * len(target.key) // _GROUPED_VALUES)
    if parts <= 1 or not columns:
        return []
    part = sa.func.hash(*columns, type_=sa.BigInteger).op("%")(sa.literal_column(str(parts)))
    return [part == sa.literal_column(str(number)) for number in range(parts)]


def _by_row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of a row group each, which DuckDB writes as they are.

    It writes smaller ones and then merges them: of 1M rows in batches of half a row group, 0.56 s of CPU time against 0.43.
    """
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _ROW_GROUP:
            joined = pa.concat_batches(waiting)
            whole = rows - rows % _ROW_GROUP
            for start in range(0, whole, _ROW_GROUP):
                yield joined.slice(start, _ROW_GROUP)
            waiting, rows = [joined.slice(whole)], rows - whole
    if rows:
        yield pa.concat_batches(waiting)


def _from_store(
    connection: duckdb.DuckDBPyConnection, table: sa.Table, target: Target, log: LogRow, mode: str, verify: Verify,
    started: float, rows: StoredRows,
) -> Loaded:  # fmt: skip
    session = Statements(connection)
    if isinstance(rows, StoredFiles):
        rows.check()
        stored: sa.FromClause = parquet(rows.files, target.staged_names)
    else:
        _check_untouched(connection, rows, target, log)
        stored = _rows(rows.table, target)
    taken = _collated(stored, target)
    faults = _key_faults(session, taken, target, log.rows)
    loaded = swap(session, table, target, log, mode, taken, verify, faults=faults, started=started)
    if isinstance(rows, StoredTable):
        # In the same transaction: whoever sees the target with these rows sees no table of them.
        execute(connection, sa.schema.DropTable(sa.Table(stored.name, sa.MetaData(), schema=stored.schema)))  # type: ignore[attr-defined]
    return loaded


def measures(connection: duckdb.DuckDBPyConnection, target: Target, name: str) -> tuple[float, ...]:
    """The rows of a table, and a number that changes with every key and output in it."""
    rows = _rows(name, target)
    # Of DuckDB's own hash(), which stays what it is for as long as this process's library does.
    total = sa.func.coalesce(sa.func.bit_xor(sa.func.hash(*rows.c.values())), sa.literal_column("0"))
    counted: list[sa.ColumnElement[Any]] = [sa.func.count().label("n"), total.label("total")]
    with reader(connection, sa.select(*counted).select_from(rows)) as found:
        (row,) = found.read_all().to_pylist()
    return row["n"], row["total"]


def _check_untouched(connection: duckdb.DuckDBPyConnection, rows: StoredTable, target: Target, log: LogRow) -> None:
    where = f"{log.scoring}, partition {log.partition_key!r}"
    again = "Nothing was loaded; materialize predictions of this partition again."
    if not exists(connection, rows.table):
        raise StagingError(
            f"{where}: the predictions stood in {rows.table}, which is gone: another run loaded or replaced them, or they "
            f"were swept. {again}"
        )
    found = measures(connection, target, rows.table)
    if found != rows.measures:
        raise StagingError(
            f"{where}: {rows.table} was touched since it was filled: {rows.measures[0]:,.0f} rows were judged, and "
            f"{found[0]:,.0f} other ones are there. {again}"
        )


def _collated(rows: sa.FromClause, target: Target) -> sa.FromClause:
    """The rows with their keys compared as the target compares them: what comes from Arrow and Parquet has no collation."""
    if not target.collations:
        return rows
    columns = [
        rows.c[name].collate(target.collations[name]).label(name) if name in target.collations else rows.c[name]
        for name in target.staged_names
    ]
    return sa.select(*columns).select_from(rows).subquery("collated")


def _rows(name: str, target: Target) -> sa.TableClause:
    schema, table = split_name(name)
    return sa.table(table, *(sa.column(column) for column in target.staged_names), schema=schema)


def create_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the scoring log where it is missing."""
    connection.execute(script("duckdb", LOG_TABLE)).fetchall()
