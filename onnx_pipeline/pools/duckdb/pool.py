"""The embedded pool: one DuckDB file.

DuckDB lets one process at a time open a file for writing, so every use takes a lock beside the file, briefly, and
waits for it for a bounded time. A load inserts straight from staging inside its transaction: what DuckDB has not
committed nobody sees, and a process that dies leaves the file as it was.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base import paths
from onnx_pipeline.base.disk import full_disk
from onnx_pipeline.base.errors import PoolError, SpecError, first_line
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.duckdb import statements as duckdb_statements
from onnx_pipeline.pools.duckdb.file import opened
from onnx_pipeline.pools.duckdb.landing import FileLanding
from onnx_pipeline.pools.duckdb.load import create_log, load_slices, measures, transaction
from onnx_pipeline.pools.duckdb.memory import LEAST, make_room, why
from onnx_pipeline.pools.duckdb.sources import find_source
from onnx_pipeline.pools.duckdb.statements import (
    column_text,
    columns,
    comment_of,
    execute,
    exists,
    quote,
    reader,
    rows,
    scalar,
    standing,
)
from onnx_pipeline.pools.exchange import Exchange, Exchanged, claim, exchange
from onnx_pipeline.pools.landing import LandedSlice
from onnx_pipeline.pools.records import (
    LOG_TABLE,
    MODELS_TABLE,
    Loaded,
    LogRow,
    Scored,
    SliceLoad,
    Source,
    Standing,
    Target,
    Verify,
)
from onnx_pipeline.pools.rows import StoredTable
from onnx_pipeline.pools.scoring_log import (
    gone,
    latest,
    log_query,
    logs_of,
    owners_query,
    scored,
    signatures_by_model,
    signatures_query,
)
from onnx_pipeline.pools.scripts import script
from onnx_pipeline.pools.tables import (
    check_columns,
    model_record,
    models_table,
    registered_model,
    split_name,
    target_table,
)
from onnx_pipeline.pools.views import MARK, DefineView, View, commented, somebody_elses
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["DuckDBPool"]

LOCK_TIMEOUT = 120.0
"""Seconds that one try waits for the file. A run tries four times (see `orchestration.assets.step`), so it waits nine minutes at most."""
_LOGGED_AT_MOST = "4MB"
"""A commit of more goes into the file at once, and not through DuckDB's log first: of 100,000 rows commit and closing take
0.04 s in place of 0.07, and half the room on the disk. A checkpoint takes 0.02 s in a file of 300 tables, and is not worth it for less."""


class DuckDBPool(Pool):
    """A DuckDB file, named by `duckdb:///<path>?memory_limit=512MB&threads=2&lock_timeout=120`."""

    kind = "duckdb"
    gives_parts = True
    view_verb = "CREATE OR REPLACE"
    default_schema = "main"
    _shared: duckdb.DuckDBPyConnection | None = None

    def __init__(
        self, path: Path, *, memory_limit: str | None = None, threads: int | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:  # fmt: skip
        self._path = path
        self._lock_timeout = lock_timeout
        self._is_limited = memory_limit is not None
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit or LEAST,
            "checkpoint_threshold": _LOGGED_AT_MOST,
        }
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
    def looking(self, purpose: str) -> Iterator["DuckDBPool"]:
        """Opens the file once: with hundreds of tables in it, that takes longer than a statement."""
        with self.connect(purpose) as connection:
            shared = copy.copy(self)
            shared._shared = connection
            yield shared

    @contextmanager
    def connect(self, purpose: str, *, create: bool = False, columns: int = 0) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, and with it the file, for as long as the block runs; with room for a scan of so many `columns`.

        Raises `PoolBusyError` where somebody else keeps the file longer than the URL's `lock_timeout`.
        """
        if self._shared is not None:
            with self._told(purpose):
                yield self._shared
            return
        if not create and not self._path.exists():
            raise PoolError(
                f"there is no pool at {self._path}. `onnx-pipeline sample` makes one with sample data; "
                "ONNX_PIPELINE_POOL names another"
            )
        file = opened(self._path, config=self._config, lock_timeout=self._lock_timeout, purpose=purpose)
        with file as connection, self._told(purpose):
            if columns and not self._is_limited:
                make_room(connection, columns)
            yield connection

    @contextmanager
    def _told(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise PoolError(
                f"{self.display_name}, {purpose}: {why(error)}{full_disk(self.path, str(error))}"
            ) from error

    def source(self, spec: ScoringSpec) -> Source:
        return find_source(self.connect, self.display_name, spec)

    def render(self, statement: sa.Select[Any]) -> str:
        return duckdb_statements.readable(statement)

    @contextmanager
    def read(self, statement: sa.Select[Any]) -> Iterator[pa.RecordBatchReader]:
        columns = len(statement.selected_columns)
        with self.connect("reading rows", columns=columns) as connection, reader(connection, statement) as found:
            yield found

    def bucket(self, columns: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
        return duckdb_statements.bucket(list(columns), buckets)

    def is_missing(self, column: sa.ColumnElement[Any], arrow: pa.DataType) -> sa.ColumnElement[bool]:
        missing = super().is_missing(column, arrow)
        return sa.or_(missing, sa.func.isnan(column)) if pa.types.is_floating(arrow) else missing

    def times(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        # Of 27 conditions over 10M rows 0.07 s, where a sum of ones takes 0.4.
        return sa.func.count_if(condition)

    def exact_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return duckdb_statements.exact_text(column)

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return duckdb_statements.by_code_point(column)

    def truncate(self, column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
        return duckdb_statements.truncate(column, unit)

    def standing(self, table: str) -> Standing:
        with self.connect(f"looking for table {table}") as connection:
            return standing(connection, table)

    def ensure_target(self, target: Target, scoring: str | None = None) -> str:
        table = target_table(target)
        with self.connect(f"preparing table {target.table}", create=True) as connection:
            create_log(connection)
            found = standing(connection, target.table)
            if not found.exists:
                connection.begin()
                if scoring is not None:
                    execute(connection, gone(scoring, found.name))
                execute(connection, sa.schema.CreateTable(table))
                connection.commit()
                return found.name
            with reader(connection, sa.select(sa.text("*")).select_from(table).limit(0)) as empty:
                actual = empty.schema
        check_columns(target, actual, table, column_text, quote)
        return found.name

    def check_target(self, target: Target) -> bool:
        with self.connect(f"looking at table {target.table}") as connection:
            if not exists(connection, target.table):
                return False
            table = target_table(target)
            with reader(connection, sa.select(sa.text("*")).select_from(table).limit(0)) as empty:
                actual = empty.schema
        check_columns(target, actual, table, column_text, quote)
        return True

    def load(self, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify) -> Iterator[Loaded]:
        with self.connect(f"loading {target.table}") as connection:
            yield from load_slices(connection, target, slices, mode, verify)

    def claim(self, scoring: str, place: str) -> None:
        with self.connect("naming the target in the scoring log") as connection:
            create_log(connection)
            with transaction(connection) as session:
                claim(session, scoring, place)

    def exchange(self, work: Exchange) -> Exchanged:
        with self.connect(f"exchanging {work.target.table}") as connection, transaction(connection) as session:
            return exchange(session, work)

    def stored_table(self, target: Target, table: str) -> StoredTable:
        with self.connect("measuring rows") as connection:
            found = measures(connection, target, table)
        return StoredTable(table, int(found[0]), found)

    def landing(self, piece: LandedSlice) -> FileLanding:
        return FileLanding(piece, self.connect, self._config)

    def define_view(self, view: View) -> str:
        with self.connect(f"making view {view.name}") as connection, transaction(connection):
            found = standing(connection, view.name)
            if found.exists and not comment_of(connection, view.name).startswith(MARK):
                raise somebody_elses(found.name, self.display_name)
            execute(connection, DefineView(view, self.view_verb))
            execute(connection, commented(view))
            return standing(connection, view.name).name

    def discard(self, table: str) -> None:
        schema, name = split_name(table)
        with self.connect(f"dropping table {table}") as connection:
            execute(connection, sa.schema.DropTable(sa.Table(name, sa.MetaData(), schema=schema), if_exists=True))

    def register_model(self, name: str, sha256: str, data: bytes, signature: str, form: str | None = None) -> int:
        models = models_table()
        with self.connect(f"registering model {name}", create=True) as connection:
            # A value needs four times its size in memory, when it is inserted and whenever the table's next rows are
            # written to the file as the connection closes. DuckDB's own limit, 80 % of the machine, is a ceiling.
            connection.execute("RESET memory_limit")
            connection.execute(script("duckdb", MODELS_TABLE)).fetchall()
            connection.begin()
            number: int = scalar(connection, registered_model(name, sha256, form))
            if not number:
                number = scalar(connection, sa.select(sa.func.coalesce(sa.func.max(models.c.id), 0) + 1))
                record = model_record(name, sha256, data, signature, form)
                try:
                    execute(connection, sa.insert(models).values({"id": number, **record}))
                except duckdb.OutOfMemoryException as error:
                    raise PoolError(
                        f"{self.display_name}: model {name} has {len(data):,} bytes, and DuckDB takes some four times "
                        f"that to store it, which this machine does not have ({first_line(error)}). Nothing was "
                        "registered. Free memory, or register it on a larger machine"
                    ) from error
            connection.commit()
        return number

    def scored(self, scoring: str, table: str) -> Scored:
        with self.connect("reading the scoring log") as connection:
            target, known = standing(connection, table), columns(connection, LOG_TABLE)
            if not known:
                return scored(target, (), None, {})
            logs = _logs(connection, log_query(scoring, known))
            owners, signed = owners_query(known, scoring, target.name), signatures_query(known, scoring)
            owner = scalar(connection, owners) if owners is not None else None
            registered = signed is not None and exists(connection, MODELS_TABLE)
            signatures = rows(connection, signed) if signed is not None and registered else []
        return scored(target, logs, owner, signatures_by_model(signatures))

    def scoring_log(self, scoring: str, partition_keys: Sequence[str] | None = None) -> dict[str, LogRow]:
        with self.connect("reading the scoring log") as connection:
            known = columns(connection, LOG_TABLE)
            return latest(_logs(connection, log_query(scoring, known, partition_keys)) if known else ())


def _logs(connection: duckdb.DuckDBPyConnection, statement: sa.Select[Any]) -> list[LogRow]:
    with reader(connection, statement) as found:
        columns = found.read_all().columns
    return logs_of(zip(*(column.to_pylist() for column in columns), strict=True))
