"""Loading slices into a T-SQL server: stage beside the target, check, swap in one transaction, log.

Whatever breaks, the target holds the old slice or the new one. A staging table's name says what it loads, for which
run, in which attempt; whoever fills it holds the lock that its name spells, so a free lock marks a leftover.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import NVARCHAR
from typing_extensions import Self

from onnx_pipeline.base.errors import AlreadyLoadedError, KeyColumnError, PoolError, PoolUnavailableError
from onnx_pipeline.pools.records import LOG_TABLE, Loaded, LogRow, SliceLoad, Target, Verify
from onnx_pipeline.pools.tables import log_record, log_table
from onnx_pipeline.pools.tsql.app_locks import resource_name
from onnx_pipeline.pools.tsql.checksums import Checksum, checked_columns
from onnx_pipeline.pools.tsql.dialect import KEY_LENGTH, as_stored, quoted
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import drop_table, staging_name, staging_table, stored_schema, target_table

if TYPE_CHECKING:
    from onnx_pipeline.pools.tsql.pool import MssqlPool

__all__ = ["SliceLoader"]

_logger = logging.getLogger(__name__)

_LOG = log_table()


class SliceLoader:
    """One call of `Pool.load`: a session that is kept from slice to slice, and made anew where it breaks."""

    def __init__(self, pool: "MssqlPool", target: Target, mode: str, verify: Verify) -> None:
        self._pool = pool
        self._target = target
        self._table = target_table(target)
        self._mode = mode
        self._verify = verify
        self._session: Session | None = None
        self._schema = self._table.schema or ""
        self._swept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> Session:
        if self._session is None or self._session.is_closed:
            self._session = self._pool.session(f"loading {self._target.table}")
            self._schema = self._table.schema or str(self._session.scalar("SELECT SCHEMA_NAME() AS name"))
        if not self._swept:
            self._pool.sweep(self._session)
            self._swept = True
        return self._session

    def load(self, piece: SliceLoad) -> Loaded:
        """Load one slice; returns after its commit, or raises with the target as it was."""
        self._refuse_large(piece)
        started = time.monotonic()
        uncertain: list[Loaded] = []
        loaded = self._pool.retries.run(partial(self._attempt, piece, uncertain, started))
        return replace(loaded, seconds=time.monotonic() - started)

    def _refuse_large(self, piece: SliceLoad) -> None:
        limit = self._pool.slice_limit
        if limit is not None and piece.bytes > limit:
            raise PoolError(
                f"{piece.log.scoring}: partition {piece.log.partition_key!r} is {piece.bytes / 1e6:,.0f} MB, and one "
                f"transaction of {self._pool.display_name} takes {limit / 1e6:,.0f} MB. Nothing was loaded. Partition "
                "finer (by day instead of month, or by more buckets), or raise ?slice_limit=<MB> in the pool's URL "
                "where its service level allows."
            )

    def _attempt(self, piece: SliceLoad, uncertain: list[Loaded], started: float, attempt: int) -> Loaded:
        try:
            session = self._open()
            resource = resource_name(quoted(self._schema, self._table.name), piece.log.partition_key)
            with self._pool.guard(session, resource):
                # The connection may have broken after the commit was sent: then there is nothing left to do.
                if uncertain and _is_logged(session, piece.log, by_this_run=True):
                    return uncertain[-1]
                if self._mode == "append" and _is_logged(session, piece.log):
                    raise self._already_loaded(piece.log)
                staged = staging_table(self._target, self._schema, staging_name(resource, piece.log.run_id, attempt))
                self._pool.clear(session, resource, staged)
                with ExitStack() as leaving:
                    leaving.callback(self._drop_quietly, session, staged)
                    session.execute(self._pool.staging_statement(staged))
                    has_null_keys = self._fill(session, staged, piece).nulls(self._target.key) > 0
                    self._check_keys(session, staged, piece, has_nulls=has_null_keys)
                    return self._swap(session, staged, piece, uncertain, started)
        except PoolUnavailableError:
            self._close()
            raise

    # Staging

    def _fill(self, session: Session, staged: sa.Table, piece: SliceLoad) -> Checksum:
        """Send the rows, and compare what arrived with what was sent; returns what was sent."""
        reader = piece.open()
        try:
            # Of `nulls`: every other way to an empty batch imports pandas.
            nothing = pa.RecordBatch.from_arrays(
                [pa.nulls(0, field.type) for field in reader.schema], schema=reader.schema
            )
            schema = as_stored(nothing).schema
            columns = checked_columns(self._target.key, schema.names)
            checksum = Checksum(stored_schema(reader.schema), columns, utf8=self._pool.text_is_utf8)

            def batches() -> Iterator[pa.RecordBatch]:
                for batch in reader:
                    sent = as_stored(batch)
                    checksum.add(sent)
                    yield sent

            self._pool.stage(session, staged, schema, batches(), piece.log)
        finally:
            reader.close()
        (found,) = session.rows(checksum.statement(staged.alias("staged")))
        problems = checksum.differences(found)
        if problems:
            raise PoolError(
                f"{piece.log.scoring}, partition {piece.log.partition_key!r}: the staging table does not hold what was "
                f"sent: {'; '.join(problems)}. Nothing was loaded. Another driver may do better: ?rows=pyodbc in the "
                "pool's URL."
            )
        return checksum

    def _check_keys(self, session: Session, staged: sa.Table, piece: SliceLoad, *, has_nulls: bool) -> None:
        if piece.keys_ascend:
            return
        rows = staged.alias("staged")
        keys = [rows.c[name] for name in self._target.key]
        absent = sa.select(sa.func.count().label("n")).select_from(rows).where(sa.or_(*(key.is_(None) for key in keys)))
        twice: sa.Select[Any] = sa.select(sa.literal_column("1").label("n")).select_from(rows).group_by(*keys)
        groups = twice.having(sa.func.count() > sa.literal_column("1")).subquery("groups")
        nulls = int(session.scalar(absent)) if has_nulls else 0
        duplicates = int(session.scalar(sa.select(sa.func.count().label("n")).select_from(groups)))
        if nulls or duplicates:
            self._verify(Loaded(piece.log.partition_key, 0, 0, 0, 0, nulls, duplicates))
            raise KeyColumnError(f"{piece.log.scoring}: {nulls} keys are NULL and {duplicates} occur more than once")

    def _drop_quietly(self, session: Session, staged: sa.Table) -> None:
        """Drop a staging table; where the connection is gone, the next load sweeps it."""
        try:
            session.execute(drop_table(str(staged.schema), staged.name))
        except PoolError as error:
            _logger.info("%s stays behind for the next load to sweep: %s", staged.name, error)

    # Swapping

    def _already_loaded(self, log: LogRow) -> AlreadyLoadedError:
        return AlreadyLoadedError(
            f"{log.scoring}: partition {log.partition_key!r} stands in {self._target.table} already, and "
            "`load: append` loads a slice once. Use `load: replace` to score it again, or delete its row from "
            f"{LOG_TABLE} together with its rows in {self._target.table}."
        )

    def _swap(
        self, session: Session, staged: sa.Table, piece: SliceLoad, uncertain: list[Loaded], started: float
    ) -> Loaded:
        log, table = piece.log, self._table
        in_slice = table.c.partition_key == log.partition_key
        with session.transaction():
            # First, because on a server without application locks this is what makes loads of a slice take turns.
            was_logged = session.execute(sa.delete(_LOG).where(_same(log)))
            if self._mode == "append" and was_logged > 0:
                raise self._already_loaded(log)
            deleted = max(0, session.execute(sa.delete(table).where(in_slice))) if self._mode == "replace" else 0
            inserted, updated = self._move(session, staged.alias("staged"), log)
            ours = sa.and_(in_slice, table.c.run_id == log.run_id)
            present = int(session.scalar(sa.select(sa.func.count().label("n")).select_from(table).where(ours)))
            if inserted < 0 or updated < 0:
                # The server does not say: what is of this run came by this load.
                inserted, updated = present, 0
            loaded = Loaded(log.partition_key, inserted, updated, deleted, present, 0, 0)
            self._verify(loaded)
            seconds = log.seconds + time.monotonic() - started
            session.execute(sa.insert(_LOG).values(log_record(replace(log, seconds=seconds))))
            uncertain.append(loaded)
        return loaded

    def _move(self, session: Session, staged: sa.FromClause, log: LogRow) -> tuple[int, int]:
        """Rows from staging into the target: how many were inserted, how many updated."""
        table = self._table
        provenance = _provenance(log)
        values: list[sa.ColumnElement[Any]] = [staged.c[name] for name in self._target.staged_names]
        rows = sa.select(*values, *provenance.values()).select_from(staged)
        updated = 0
        if self._mode == "upsert":
            matches = sa.and_(*(table.c[name] == staged.c[name] for name in self._target.key))
            outputs = [name for name in self._target.staged_names if name not in self._target.key]
            changes = {name: staged.c[name] for name in outputs} | provenance
            updated = session.execute(sa.update(table).values(changes).where(matches))
            known: sa.Select[Any] = (
                sa.select(sa.literal_column("1")).select_from(table).where(matches).correlate(staged)
            )
            rows = rows.where(~sa.exists(known))
        inserted = session.execute(sa.insert(table).from_select(self._target.schema.names, rows))
        return inserted, updated


def _provenance(log: LogRow) -> dict[str, sa.ColumnElement[Any]]:
    return {
        "partition_key": sa.cast(log.partition_key, NVARCHAR(KEY_LENGTH)),
        "model_sha256": sa.cast(log.model_sha256, NVARCHAR(64)),
        "scored_at": sa.literal(log.scored_at.replace(tzinfo=None), sa.DateTime()),
        "run_id": sa.cast(log.run_id, NVARCHAR(64)),
    }


def _same(log: LogRow) -> sa.ColumnElement[bool]:
    table = _LOG
    return sa.and_(table.c.scoring == log.scoring, table.c.partition_key == log.partition_key)


def _is_logged(session: Session, log: LogRow, *, by_this_run: bool = False) -> bool:
    """Whether the scoring log has the slice; `by_this_run`, whether this very load wrote it."""
    table = _LOG
    statement = sa.select(sa.func.count().label("n")).select_from(table).where(_same(log))
    if by_this_run:
        moment = log.scored_at.replace(tzinfo=None)
        statement = statement.where(table.c.run_id == log.run_id, table.c.scored_at == moment)
    return bool(session.scalar(statement))
