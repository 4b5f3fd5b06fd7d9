"""SQL Server 2017 and later, Azure SQL Database, Azure SQL Managed Instance.

Rows leave as Arrow batches. They come in by bulk copy into a staging table beside the target; what arrived is compared
with what was sent; then one transaction per partition deletes, inserts from staging and writes the log row.
"""

import copy
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa
from typing_extensions import Self

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.pools import exchange as exchanges
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.exchange import Exchange, Exchanged
from onnx_pipeline.pools.landing import LandedSlice, Landing
from onnx_pipeline.pools.records import (
    LOG_TABLE,
    Loaded,
    LogRow,
    Scored,
    SliceLoad,
    Source,
    Standing,
    Target,
    Verify,
)
from onnx_pipeline.pools.rows import StoredTable, row_bytes
from onnx_pipeline.pools.scoring_log import latest, log_table
from onnx_pipeline.pools.tables import model_record, split_name
from onnx_pipeline.pools.tsql import app_locks, collations, exchanging, kept, leftovers, models, scoring_log, targets
from onnx_pipeline.pools.tsql import dialect as tsql
from onnx_pipeline.pools.tsql import functions as tsql_functions
from onnx_pipeline.pools.tsql.connections import Address, parse_url
from onnx_pipeline.pools.tsql.dialect import BINARY_COLLATION
from onnx_pipeline.pools.tsql.drivers.base import Driver
from onnx_pipeline.pools.tsql.drivers.open import has_driver, open_driver
from onnx_pipeline.pools.tsql.filling import fill
from onnx_pipeline.pools.tsql.idle import IdleSession
from onnx_pipeline.pools.tsql.load import SliceLoader
from onnx_pipeline.pools.tsql.measures import measure
from onnx_pipeline.pools.tsql.parts_landing import PartsLanding
from onnx_pipeline.pools.tsql.session import LOGIN_SECONDS, Session
from onnx_pipeline.pools.tsql.sources import find_source
from onnx_pipeline.pools.tsql.tables import (
    LANDING_PREFIX,
    STAGING_PREFIX,
    drop_table,
    resource_of,
    staging_table,
    staging_tables,
    standing,
    target_table,
)
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline.pools.tsql.views import define
from onnx_pipeline.pools.views import View
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["MssqlPool"]

_BATCH_ROWS = 65_536


class MssqlPool(Pool):
    """A database named by `mssql+mssqlpython://` or `mssql+pyodbc://`; `connections` says how to write one.

    Further options of the URL: `lock_timeout`, seconds to wait for somebody else's load of the same partition (600);
    `rows`, the driver that moves rows (mssql-python where it is installed); `slice_limit`, most megabytes of one
    transaction; `driver`, pyodbc's ODBC driver.
    """

    kind = "mssql"
    view_verb = "CREATE OR ALTER"
    default_schema = "dbo"
    gives_parts = True
    sql_folder = "sqlserver"
    text_is_utf8: ClassVar[bool | None] = None
    """Whether the columns that we make hold text as UTF-8 or as UTF-16; None: ask the server."""
    exact_collation: ClassVar[str] = BINARY_COLLATION
    """What compares texts by code point."""
    second_digits: ClassVar[int] = 7
    transactional_ddl: ClassVar[bool] = True
    """Whether a table can be made within a transaction."""
    default_slice_limit: ClassVar[float | None] = None
    options: ClassVar[frozenset[str]] = frozenset({"lock_timeout", "rows", "slice_limit", "driver"})

    def __init__(
        self, address: Address, *, driver: Driver | None = None, rows_driver: Driver | None = None,
        retries: Retries | None = None,
    ) -> None:  # fmt: skip
        unknown = sorted(set(address.options) - self.options)
        if unknown:
            raise SpecError(
                f"{address.display_name}: the URL's option {unknown[0]!r} is not known; "
                f"{closest(unknown[0], sorted(self.options | {'authentication', 'encrypt', 'trust_server_certificate'}))}"
            )
        self._address = address
        self._driver = driver or open_driver(address.scheme.partition("+")[2] or self._preferred())
        self._rows_driver = rows_driver or driver or open_driver(address.options.get("rows") or self._preferred())
        self._retries = retries or Retries()
        self._login_seconds = LOGIN_SECONDS
        self._run_id = uuid.uuid4().hex
        self._unfinished: Callable[[], Collection[str]] | None = None
        self._idle: IdleSession | None = None
        self.lock_timeout = address.number("lock_timeout", 600.0)
        megabytes = address.number("slice_limit", self.default_slice_limit)
        self.slice_limit = None if megabytes is None else int(megabytes * 1e6)

    @classmethod
    def from_url(cls, url: str) -> "MssqlPool":
        return cls(parse_url(url))

    @staticmethod
    def _preferred() -> str:
        return "mssqlpython" if has_driver("mssqlpython") else "pyodbc"

    @property
    def display_name(self) -> str:
        return self._address.display_name

    @property
    def retries(self) -> Retries:
        return self._retries

    def for_run(self, run_id: str, unfinished: Callable[[], Collection[str]]) -> Self:
        of_run = copy.copy(self)
        of_run._run_id, of_run._unfinished = run_id, unfinished
        return of_run

    def redacted(self, text: str) -> str:
        return self._address.redacted(text)

    def waiting_at_most(self, seconds: float) -> "MssqlPool":
        hurried = copy.copy(self)
        hurried.lock_timeout = min(seconds, self.lock_timeout)
        hurried._login_seconds = max(1, min(LOGIN_SECONDS, int(seconds)))
        hurried._retries = replace(self._retries, most=0)
        return hurried

    # Sessions

    def session(self, purpose: str, *, rows: bool = False) -> Session:
        """A connection; `rows` asks for the driver that moves rows."""
        driver = self._rows_driver if rows else self._driver
        kept = None if self._idle is None else self._idle.taken(driver, purpose)
        return kept or Session(
            driver, self._address, purpose, finish=self.finish, redacted=self.redacted,
            login_seconds=self._login_seconds, keep=None if self._idle is None else self._idle.keep,
        )  # fmt: skip

    @contextmanager
    def looking(self, purpose: str) -> Iterator["MssqlPool"]:
        with IdleSession() as idle:
            looking = copy.copy(self)
            looking._idle = idle
            yield looking

    def finish(self, statement: str, purpose: str) -> str:
        """The statement as it is sent."""
        return statement

    def retried(self, purpose: str, work: Callable[[Session], Any]) -> Any:
        """`work(session)`, again from its start where the connection breaks: for what may be done twice."""

        def attempt(_: int) -> Any:
            with self.session(purpose) as session:
                return work(session)

        return self._retries.run(attempt)

    # Reading

    def source(self, spec: ScoringSpec) -> Source:
        return find_source(self, spec)

    def columns_of(self, statement: sa.Select[Any]) -> pa.Schema:
        """The columns of a SELECT, without its rows."""
        with self.read_over_tds(statement.where(sa.text("1 = 0"))) as reader:
            return reader.read_all().schema  # read to the end, which leaves the session fit for another use

    def collations_of(self, statement: sa.Select[Any]) -> Mapping[str, str]:
        return collations.of_statement(self, tsql.readable(statement))

    def as_standing(self, session: Session, target: Target) -> Target:
        return collations.as_standing(session, target)

    def tables(self) -> list[str]:
        """Tables and views of the database, as `schema.name`."""
        listed = "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES"
        rows = self.retried("listing tables", lambda session: session.rows(listed))
        return sorted(f"{schema}.{name}" for schema, name in rows)

    def render(self, statement: sa.Select[Any]) -> str:
        return tsql.readable(statement)

    def read(self, statement: sa.Select[Any]) -> AbstractContextManager[pa.RecordBatchReader]:
        return self.read_over_tds(statement)

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        with self.read_over_tds(statement) as reader:
            return reader.read_all()

    @contextmanager
    def read_over_tds(self, statement: sa.Select[Any]) -> Iterator[pa.RecordBatchReader]:
        """The statement's rows through the database's own protocol."""
        with ExitStack() as stack:
            # Up to the first row another attempt loses nothing; after it, the reader of the rows has to start again.
            yield self._retries.run(lambda _: self._reader(stack, statement))

    def _reader(self, stack: ExitStack, statement: sa.Select[Any]) -> pa.RecordBatchReader:
        with ExitStack() as attempt:
            session = attempt.enter_context(self.session("reading rows", rows=True))
            reader = attempt.enter_context(session.reader(statement, _BATCH_ROWS))
            stack.push(attempt.pop_all())
        return reader

    def bucket(self, columns: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
        return tsql_functions.bucket(columns, buckets)

    def exact_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return tsql_functions.exact_text(column, self.exact_collation)

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return tsql_functions.by_code_point(column, self.exact_collation)

    def among(self, column: sa.ColumnElement[Any], texts: Sequence[str]) -> sa.ColumnElement[bool]:
        # What is equal by code point is equal by every collation, and blanks at the end count for none: the column's own
        # comparison loses no row, and may use an index.
        return sa.and_(column.in_(texts), super().among(column, texts))

    def base_type(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return tsql_functions.base_type(column)

    def truncate(self, column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
        return tsql_functions.truncate(column, unit)

    def scoring_log(self, scoring: str, partition_keys: Sequence[str] | None = None) -> dict[str, LogRow]:
        def work(session: Session) -> list[LogRow]:
            return scoring_log.read(session, scoring, partition_keys)

        return latest(self.retried("reading the scoring log", work))

    def scored(self, scoring: str, table: str) -> Scored:
        def work(session: Session) -> Scored:
            return scoring_log.scored(session, scoring, table)

        found: Scored = self.retried("reading the scoring log", work)
        return found

    # Writing

    def standing(self, table: str) -> Standing:
        found: Standing = self.retried(f"looking for table {table}", lambda session: standing(session, table))
        return found

    def ensure_target(self, target: Target, scoring: str | None = None) -> str:
        return targets.ensure(self, target, scoring)

    def check_target(self, target: Target) -> bool:
        return targets.check(self, target)

    def target_statements(self, target: Target) -> list[Any]:
        """What makes the target; the slice of a partition is found, and deleted, by its key."""
        table = target_table(target)
        index = sa.Index("ix_partition_key", table.c.partition_key, mssql_clustered=True)
        return [sa.schema.CreateTable(table), sa.schema.CreateIndex(index)]

    def column_text(self, column: sa.Column[Any]) -> str:
        """A column's name and type in the target."""
        return str(sa.schema.CreateColumn(column).compile(dialect=tsql.DIALECT))

    def staging_statement(self, table: sa.Table) -> Any:
        """What makes a staging table."""
        return sa.schema.CreateTable(table)

    def load(self, target: Target, slices: Iterable[SliceLoad], mode: str, verify: Verify) -> Iterator[Loaded]:
        with SliceLoader(self, target, mode, verify) as loader:
            for piece in slices:
                yield loader.load(piece)

    def claim(self, scoring: str, place: str) -> None:
        def work(session: Session) -> None:
            kept.prepare(session, self.sql_folder, LOG_TABLE, log_table().c.keys())
            with session.transaction():
                exchanges.claim(session, scoring, place)

        self.retried("naming the target in the scoring log", work)

    def exchange(self, work: Exchange) -> Exchanged:
        return exchanging.exchange(self, work)

    def stored_table(self, target: Target, table: str) -> StoredTable:
        schema, name = split_name(table)
        rows = staging_table(target, schema, name).alias("stored")
        (found,) = self.retried("measuring rows", lambda session: session.rows(measure(rows, target.staged_schema)))
        size = int(found[0]) * row_bytes(target.staged_schema)
        return StoredTable(table, int(found[0]), tuple(float(value or 0) for value in found), size)

    def landing(self, piece: LandedSlice) -> Landing:
        return PartsLanding(piece, self, self._run_id)

    def define_view(self, view: View) -> str:
        return define(self, view, has_properties=True)

    def discard(self, table: str) -> None:
        schema, name = split_name(table)

        def work(session: Session) -> None:
            # Whoever is loading it right now is done with it afterwards.
            with self.guard(session, resource_of(name)):
                session.execute(drop_table(schema, name))

        self.retried(f"dropping table {table}", work)

    def guard(self, session: Session, resource: str) -> AbstractContextManager[None]:
        """Hold, for as long as the session lives, what nobody else may load at the same time."""
        return app_locks.exclusive(session, resource, self.lock_timeout)

    def clear(self, session: Session, resource: str, table: sa.Table) -> None:
        """Drop what earlier attempts at a slice left, while its lock is held."""
        for schema, name in session.rows(*staging_tables(STAGING_PREFIX + resource.removeprefix("onnx_"))):
            session.execute(drop_table(schema, name))

    def sweep(self, session: Session) -> None:
        """Drop what loads and landings left that ended without doing so."""
        leftovers.drop_old(session, LANDING_PREFIX, self._unfinished)
        leftovers.drop_abandoned(session)

    def stage(
        self, session: Session, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], log: LogRow
    ) -> None:
        """Fill an empty staging table, outside any transaction."""
        apart = None if self._rows_driver is self._driver else partial(self.session, session.purpose, rows=True)
        fill(session, table, schema, batches, log.rows, apart)

    def register_model(self, name: str, sha256: str, data: bytes, signature: str, form: str | None = None) -> int:
        record = model_record(name, sha256, data, signature, form)
        found: int = self.retried(f"registering model {name}", lambda session: models.register(self, session, record))
        return found
