"""The embedded pool: one DuckDB file.

DuckDB lets one process at a time open a file for writing, so every use takes a lock beside the file, briefly, and
waits for it for a bounded time. A load inserts straight from staging inside its transaction: what DuckDB has not
committed nobody sees, and a process that dies leaves the file as it was.
"""

import copy
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from duckdb_engine import Dialect, DuckDBIdentifierPreparer
from sqlalchemy.sql.compiler import Compiled

from onnx_pipeline import paths
from onnx_pipeline.errors import (
    AlreadyLoadedError,
    PoolBusyError,
    PoolError,
    SpecError,
    TargetError,
)
from onnx_pipeline.hints import closest
from onnx_pipeline.pools.base import (
    LOG_TABLE,
    MODELS_TABLE,
    Loaded,
    LogRow,
    Pool,
    SliceLoad,
    Source,
    Target,
    Verify,
)
from onnx_pipeline.pools.locks import hold
from onnx_pipeline.pools.tables import (
    log_from_record,
    log_record,
    log_table,
    models_table,
    query_clause,
    split_name,
    target_table,
    unfit_columns,
)
from onnx_pipeline.spec import ScoringSpec

__all__ = ["DuckDBPool"]

_logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 120.0
"""Seconds that one try waits for the file. A run tries four times (see `assets`), so it waits nine minutes at most."""

_BATCH_ROWS = 122_880
"""DuckDB's row group: its scans hand out multiples of it."""


class _QuotingPreparer(DuckDBIdentifierPreparer):
    """Quotes every name: duckdb-engine goes by PostgreSQL's reserved words, and DuckDB has more (`at`, `qualify`)."""

    def _requires_quotes(self, value: str) -> bool:
        return True


class _QuotingDialect(Dialect):
    preparer = _QuotingPreparer
    supports_statement_cache = False


Statement: TypeAlias = sa.Select[Any] | sa.Insert | sa.Update | sa.Delete | sa.schema.ExecutableDDLElement

_DIALECT = _QuotingDialect(paramstyle="numeric_dollar")


class DuckDBPool(Pool):
    """A DuckDB file, named by `duckdb:///<path>?memory_limit=512MB&threads=2&lock_timeout=120`."""

    kind = "duckdb"

    def __init__(
        self, path: Path, *, memory_limit: str = "256MB", threads: int | None = None, lock_timeout: float = LOCK_TIMEOUT
    ) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self._config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit}
        if threads is not None:
            self._config["threads"] = threads

    @classmethod
    def from_url(cls, url: str) -> "DuckDBPool":
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(set(options) - {"memory_limit", "threads", "lock_timeout"})
        if unknown:
            raise SpecError(
                f"pool URL {url!r}: unknown option {unknown[0]!r}; there are memory_limit, threads and lock_timeout"
            )
        if parts.netloc or parts.path in ("", "/"):
            raise SpecError(f"pool URL {url!r} names no file: write duckdb:///data/pool.duckdb")
        arguments: dict[str, Any] = {}
        try:
            if "memory_limit" in options:
                arguments["memory_limit"] = options["memory_limit"]
            if "threads" in options:
                arguments["threads"] = int(options["threads"])
            if "lock_timeout" in options:
                arguments["lock_timeout"] = float(options["lock_timeout"])
        except ValueError as error:
            raise SpecError(f"pool URL {url!r}: threads and lock_timeout are numbers") from error
        return cls(paths.resolve(parts.path[1:]), **arguments)

    @property
    def display_name(self) -> str:
        return f"duckdb:{self._path.name}"

    @property
    def path(self) -> Path:
        return self._path

    def waiting_at_most(self, seconds: float) -> "DuckDBPool":
        hurried = copy.copy(self)
        hurried._lock_timeout = min(seconds, self._lock_timeout)
        return hurried

    @contextmanager
    def connect(self, purpose: str, *, create: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, and with it the file, for as long as the block runs.

        Raises `PoolBusyError` where somebody else keeps the file longer than the URL's `lock_timeout`.
        """
        if not create and not self._path.exists():
            raise PoolError(
                f"there is no pool at {self._path}. `onnx-pipeline sample` makes one with sample data; "
                "ONNX_PIPELINE_POOL names another"
            )
        with hold(self._path, timeout=self._lock_timeout, purpose=purpose) as left:
            connection = self._open(left)
            try:
                yield connection
            except duckdb.Error as error:
                raise PoolError(f"{self.display_name}, {purpose}: {error}") from error
            finally:
                connection.close()

    def _open(self, seconds: float) -> duckdb.DuckDBPyConnection:
        """Open the file; a program that does not know our lock (a DuckDB shell, say) may still hold it."""
        deadline = time.monotonic() + seconds
        told = False
        while True:
            try:
                return duckdb.connect(str(self._path), config=self._config)
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise PoolError(f"{self._path} cannot be opened as a DuckDB database: {error}") from error
                holder = _holder(str(error))
                if time.monotonic() >= deadline:
                    raise PoolBusyError(
                        f"{self._path} was still held by {holder} after {self._lock_timeout:.0f} s, so nothing was "
                        "done. Close it there, or give the pool's URL a longer ?lock_timeout=<seconds>."
                    ) from error
                if not told:
                    _logger.warning("waiting up to %.0f s for %s, held by %s", seconds, self._path, holder)
                    told = True
                time.sleep(0.2)
            except duckdb.Error as error:
                raise PoolError(f"{self._path} cannot be opened as a DuckDB database: {error}") from error

    def source(self, spec: ScoringSpec) -> Source:
        source = spec.source_spec
        if source.table is not None:
            schema_name, table_name = split_name(source.table)
            table = sa.table(table_name, schema=schema_name)
            description = f"table {source.table}"
            probe = sa.select(sa.text("*")).select_from(table).limit(0)
        else:
            query = query_clause(spec)
            description = f"query of {spec.scoring}"
            probe = sa.select(sa.text("*")).select_from(query.columns().subquery("source")).limit(0)
        with self.connect(f"reading the columns of {description}") as connection:
            try:
                with _reader(connection, probe) as reader:
                    schema = reader.schema
            except duckdb.CatalogException as error:
                tables = [row[0] for row in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()]
                views = [
                    row[0]
                    for row in connection.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
                ]
                hint = closest(source.table or "", sorted(tables + views)) if source.table else str(error)
                raise PoolError(f"{self.display_name}: {description} cannot be read; {hint}") from error
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in schema.names]
        if source.table is not None:
            return Source(description, schema, sa.table(table_name, *columns, schema=schema_name))
        return Source(description, schema, query.columns(*columns).subquery("source"))

    def render(self, statement: sa.Select[Any]) -> str:
        compiled = statement.compile(dialect=Dialect(), compile_kwargs={"literal_binds": True})
        return str(compiled)

    @contextmanager
    def read(self, statement: sa.Select[Any]) -> Iterator[pa.RecordBatchReader]:
        with self.connect("reading rows") as connection, _reader(connection, statement) as reader:
            yield reader

    def bucket(self, columns: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
        # MD5 rather than hash(): DuckDB does not promise that hash() stays what it is. Its first three bytes, most
        # significant first: what a cast of them to an integer gives in T-SQL.
        text = sa.func.concat_ws("|", *(sa.cast(column, sa.String) for column in columns))
        digest = sa.func.md5_number_upper(text)
        first, second, third = (_byte(digest, place) for place in range(3))
        number = first * sa.literal_column("65536") + second * sa.literal_column("256") + third
        return number % sa.literal_column(str(int(buckets)))

    def truncate(self, column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
        if unit == "day":
            return sa.cast(column, sa.Date)
        return sa.func.time_bucket(sa.literal_column("INTERVAL 15 MINUTE"), column)

    def ensure_target(self, target: Target) -> None:
        table = target_table(target)
        with self.connect(f"preparing table {target.table}", create=True) as connection:
            _create_log(connection)
            if not _exists(connection, target.table):
                _execute(connection, sa.schema.CreateTable(table, if_not_exists=True))
                return
            with _reader(connection, sa.select(sa.text("*")).select_from(table).limit(0)) as reader:
                actual = reader.schema
        problems = unfit_columns(target, actual)
        if problems:
            raise TargetError(
                f"table {target.table} stands with other columns: {'; '.join(problems)}. "
                "Name another `target`, or drop or alter the table."
            )

    def load(self, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify) -> Iterator[Loaded]:
        table = target_table(target)
        with self.connect(f"loading {target.table}") as connection:
            _create_log(connection)
            for piece in slices:
                started = time.monotonic()
                connection.begin()
                try:
                    loaded = self._load_slice(connection, table, target, piece, mode)
                    verify(loaded)
                    log = piece.log
                    _write_log(connection, replace(log, seconds=log.seconds + time.monotonic() - started))
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
                yield Loaded(**{**vars(loaded), "seconds": time.monotonic() - started})

    def _load_slice(
        self, connection: duckdb.DuckDBPyConnection, table: sa.Table, target: Target, piece: SliceLoad, mode: str
    ) -> Loaded:
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
            deleted = _execute(connection, sa.delete(table).where(in_slice))
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
                updated = _execute(connection, sa.update(table).values(changes).where(matches))
                rows = sa.select(*staged.c.values(), *provenance).where(
                    ~sa.exists(sa.select(sa.literal(1)).select_from(table).where(matches).correlate(staged))
                )
            else:
                rows = sa.select(*staged.c.values(), *provenance)
            inserted = _execute(connection, sa.insert(table).from_select(target.schema.names, rows))
        finally:
            # Not unregistered where it failed: an aborted transaction refuses that, and would hide why it was aborted.
            reader.close()
        connection.unregister("staged_reader")
        ours = sa.and_(in_slice, table.c.run_id == log.run_id)
        present = _scalar(connection, sa.select(sa.func.count()).select_from(table).where(ours))
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

    def register_model(self, name: str, sha256: str, data: bytes, signature: str) -> None:
        models = models_table()
        with self.connect(f"registering model {name}", create=True) as connection:
            connection.execute((paths.sql_folder() / "duckdb" / f"{MODELS_TABLE}.sql").read_text()).fetchall()
            same = sa.select(sa.func.count()).where(models.c.name == name, models.c.sha256 == sha256)
            connection.begin()
            if not _scalar(connection, same):
                number = _scalar(connection, sa.select(sa.func.coalesce(sa.func.max(models.c.id), 0) + 1))
                _execute(
                    connection,
                    sa.insert(models).values(
                        id=number,
                        name=name,
                        sha256=sha256,
                        model=data,
                        created_at=sa.func.current_localtimestamp(),
                        signature=signature,
                    ),
                )
            connection.commit()

    def scoring_log(self, scoring: str, partition_keys: Sequence[str] | None = None) -> dict[str, LogRow]:
        table = log_table()
        statement = sa.select(table).where(table.c.scoring == scoring)
        if partition_keys is not None:
            statement = statement.where(table.c.partition_key.in_(partition_keys))
        with self.connect("reading the scoring log") as connection:
            if not _exists(connection, LOG_TABLE):
                return {}
            with _reader(connection, statement) as reader:
                records = reader.read_all().to_pylist()
        return {record["partition_key"]: log_from_record(record) for record in records}

    def preview(self, table: str, where: Mapping[str, str], rows: int) -> pa.Table:
        schema, name = split_name(table)
        selectable = sa.table(name, *(sa.column(column) for column in where), schema=schema)
        conditions = [selectable.c[column] == value for column, value in where.items()]
        return self.fetch(sa.select(sa.text("*")).select_from(selectable).where(*conditions).limit(rows))


def _byte(number: sa.ColumnElement[Any], place: int) -> sa.ColumnElement[Any]:
    """Byte `place` of an unsigned number, from the least significant on."""
    shifted = number.bitwise_rshift(sa.literal_column(str(8 * place))) if place else number
    return sa.cast(shifted.bitwise_and(sa.literal_column("255")), sa.Integer)


def _holder(message: str) -> str:
    """Who DuckDB says holds the file, e.g. `/usr/bin/duckdb (PID 4711)`."""
    match = re.search(r"held in (.+?\(PID \d+\))", message)
    return f"{match.group(1)}, which has it open in DuckDB" if match else "another program"


def _compile(statement: Statement) -> Compiled:
    compiled: Compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return compiled


def _parameters(compiled: Compiled) -> list[Any]:
    positions = getattr(compiled, "positiontup", None) or []
    values = compiled.params
    return [values[name] for name in positions]


@contextmanager
def _reader(connection: duckdb.DuckDBPyConnection, statement: Statement) -> Iterator[pa.RecordBatchReader]:
    compiled = _compile(statement)
    # A relation streams; a cursor's result would be copied once more.
    relation = connection.sql(str(compiled), params=_parameters(compiled))
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    try:
        yield reader
    finally:
        reader.close()


def _execute(connection: duckdb.DuckDBPyConnection, statement: Statement) -> int:
    """Run a statement; the number of rows that it touched, 0 for DDL."""
    compiled = _compile(statement)
    # All rows: DuckDB takes no other statement before a result is read to its end.
    rows = connection.execute(str(compiled), _parameters(compiled)).fetchall()
    return int(rows[0][0]) if rows else 0


def _scalar(connection: duckdb.DuckDBPyConnection, statement: Statement) -> int:
    return _execute(connection, statement)


def _exists(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    schema, table = split_name(name)
    found = connection.execute(
        "SELECT count(*) FROM information_schema.tables WHERE lower(table_name) = lower($1) "
        "AND lower(table_schema) = lower(coalesce($2, current_schema()))",
        [table, schema],
    ).fetchall()
    return bool(found[0][0])


def _create_log(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute((paths.sql_folder() / "duckdb" / f"{LOG_TABLE}.sql").read_text()).fetchall()


def _is_logged(connection: duckdb.DuckDBPyConnection, log: LogRow) -> bool:
    table = log_table()
    same = sa.and_(table.c.scoring == log.scoring, table.c.partition_key == log.partition_key)
    return bool(_scalar(connection, sa.select(sa.func.count()).select_from(table).where(same)))


def _write_log(connection: duckdb.DuckDBPyConnection, log: LogRow) -> None:
    table = log_table()
    same = sa.and_(table.c.scoring == log.scoring, table.c.partition_key == log.partition_key)
    _execute(connection, sa.delete(table).where(same))
    _execute(connection, sa.insert(table).values(log_record(log)))


def _key_faults(
    connection: duckdb.DuckDBPyConnection,
    table: sa.FromClause,
    target: Target,
    where: sa.ColumnElement[bool] | None = None,
) -> tuple[int, int]:
    """How many rows have a NULL in their key, and how many keys occur more than once."""
    where = sa.true() if where is None else where
    keys = [table.c[name] for name in target.key]
    nulls = _scalar(
        connection,
        sa.select(sa.func.count()).select_from(table).where(where, sa.or_(*(key.is_(None) for key in keys))),
    )
    repeated = sa.select(sa.literal(1).label("n")).select_from(table).where(where).group_by(*keys)
    groups = repeated.having(sa.func.count() > 1).subquery()
    return nulls, _scalar(connection, sa.select(sa.func.count()).select_from(groups))
