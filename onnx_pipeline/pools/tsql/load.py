"""Loading slices into a T-SQL server: stage beside the target, check, swap in one transaction, log.

Whatever breaks, the target holds the old slice or the new one. A staging table's name says what it loads, for which
run, in which attempt; whoever fills it holds the lock that its name spells, so a free lock marks a leftover.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from types import TracebackType

import pyarrow as pa
import sqlalchemy as sa
from typing_extensions import Self

from onnx_pipeline.base.errors import KeyColumnError, PoolError, PoolUnavailableError, StagingError
from onnx_pipeline.pools.clashes import is_first
from onnx_pipeline.pools.records import Loaded, LogRow, SliceLoad, Target, Verify, is_empty
from onnx_pipeline.pools.rows import StagedRows, StoredFiles, StoredTable
from onnx_pipeline.pools.swap import already_loaded, is_logged, key_faults, swap
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.app_locks import resource_name
from onnx_pipeline.pools.tsql.checksums import Checksum, checked_columns
from onnx_pipeline.pools.tsql.collations import hint
from onnx_pipeline.pools.tsql.dialect import as_stored, quoted, sent_schema
from onnx_pipeline.pools.tsql.measures import differences, measure
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import drop_table, exists, staging_name, staging_table, stored_schema, target_table

__all__ = ["SliceLoader"]

_logger = logging.getLogger(__name__)


class SliceLoader:
    """One call of `Pool.load`: a session that is kept from slice to slice, and made anew where it breaks."""

    def __init__(self, pool: Server, target: Target, mode: str, verify: Verify) -> None:
        self._pool = pool
        self._target = target
        self._of_source = target.collations
        self._table = target_table(target)
        self._mode = mode
        self._verify = verify
        self._session: Session | None = None
        self._schema = self._table.schema or ""
        self._swept = False
        self._owned = False
        """Whether the log has a row of the scoring in the target, by which another one sees that it is taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.__exit__(kind, error, trace)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> Session:
        if self._session is None or self._session.is_closed:
            self._session = self._pool.session(f"loading {self._target.table}")
            self._schema = self._table.schema or str(self._session.scalar("SELECT SCHEMA_NAME() AS name"))
            # Staged keys are joined with the target's, and two of them are one where the target holds them for one.
            self._target = self._pool.as_standing(self._session, self._target)
        if not self._swept:
            self._pool.sweep(self._session)
            self._swept = True
        return self._session

    def load(self, piece: SliceLoad) -> Loaded:
        """Load one slice; returns after its commit, or raises with the target as it was."""
        if isinstance(piece.rows, StoredFiles):
            # A server reads no disk of ours.
            piece = replace(piece, rows=piece.rows.staged(self._target.staged_schema))
        self._refuse_large(piece)
        started = time.monotonic()
        uncertain: list[Loaded] = []
        loaded = self._pool.retries.run(partial(self._attempt, piece, uncertain, started))
        return replace(loaded, seconds=time.monotonic() - started)

    def _refuse_large(self, piece: SliceLoad) -> None:
        limit = self._pool.slice_limit
        if limit is not None and piece.rows.bytes > limit:
            raise PoolError(
                f"{piece.log.scoring}: partition {piece.log.partition_key!r} is {piece.rows.bytes / 1e6:,.0f} MB, and one "
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
                if uncertain and is_logged(session, piece.log, by_this_run=True):
                    if isinstance(piece.rows, StoredTable):
                        self._drop_quietly(session, self._taken_over(piece.rows))
                    return uncertain[-1]
                if self._mode == "append" and is_logged(session, piece.log):
                    raise already_loaded(piece.log, self._target)
                if is_empty(piece) and self._mode != "upsert":
                    # A backfill of a long history meets hundreds: no staging table is made and filled for nothing.
                    return self._swap(session, self._no_rows(), piece.log, uncertain, started)
                if isinstance(piece.rows, StagedRows):
                    name = staging_name(resource, piece.log.run_id, attempt)
                    return self._from_stream(session, resource, name, piece, piece.rows, uncertain, started)
                assert isinstance(piece.rows, StoredTable)
                return self._from_table(session, piece, piece.rows, uncertain, started)
        except PoolUnavailableError:
            self._close()
            raise

    # Rows that come in, and rows that are there

    def _from_stream(
        self, session: Session, resource: str, name: str, piece: SliceLoad, rows: StagedRows,
        uncertain: list[Loaded], started: float,
    ) -> Loaded:  # fmt: skip
        staged = staging_table(self._target, self._schema, name)
        self._pool.clear(session, resource, staged)
        with ExitStack() as leaving:
            leaving.callback(self._drop_quietly, session, staged)
            session.execute(self._pool.staging_statement(staged))
            sent = self._fill(session, staged, piece.log, rows)
            if not rows.keys_ascend:
                self._check_keys(session, staged, piece.log, may_be_null=sent.nulls(self._target.key) > 0)
            return self._swap(session, staged, piece.log, uncertain, started)

    def _from_table(
        self, session: Session, piece: SliceLoad, rows: StoredTable, uncertain: list[Loaded], started: float
    ) -> Loaded:
        """Swap rows in that the pool itself holds, and then drop the table: a retry needs it until the commit."""
        stored, schema = self._taken_over(rows), self._target.staged_schema
        where = f"{piece.log.scoring}, partition {piece.log.partition_key!r}"
        again = "Nothing was loaded; materialize predictions of this partition again."
        if not exists(session, f"{stored.schema}.{stored.name}"):
            raise StagingError(
                f"{where}: the predictions stood in {rows.table}, which is gone: another run loaded or replaced them, or "
                f"they were swept. {again}"
            )
        (found,) = session.rows(measure(stored.alias("stored"), schema))
        problems = differences(schema, rows.measures, found)
        if problems:
            raise StagingError(f"{where}: {rows.table} was touched since it was filled: {'; '.join(problems)}. {again}")
        self._check_keys(session, stored, piece.log, may_be_null=True)
        loaded = self._swap(session, stored, piece.log, uncertain, started)
        self._drop_quietly(session, stored)
        return loaded

    def _taken_over(self, rows: StoredTable) -> sa.Table:
        schema, name = split_name(rows.table)
        return staging_table(self._target, schema or self._schema, name)

    def _fill(self, session: Session, staged: sa.Table, log: LogRow, rows: StagedRows) -> Checksum:
        """Send the rows, and compare what arrived with what was sent; returns what was sent."""
        reader = rows.open()
        try:
            schema = sent_schema(reader.schema)
            columns = checked_columns(self._target.key, schema.names)
            checksum = Checksum(stored_schema(reader.schema), columns, utf8=self._pool.text_is_utf8)

            def batches() -> Iterator[pa.RecordBatch]:
                for batch in reader:
                    sent = as_stored(batch)
                    checksum.add(sent)
                    yield sent

            self._pool.stage(session, staged, schema, batches(), log)
        finally:
            reader.close()
        (found,) = session.rows(checksum.statement(staged.alias("staged")))
        problems = checksum.differences(found)
        if problems:
            raise PoolError(
                f"{log.scoring}, partition {log.partition_key!r}: the staging table does not hold what was "
                f"sent: {'; '.join(problems)}. Nothing was loaded. Another driver may do better: ?rows=pyodbc in the "
                "pool's URL."
            )
        return checksum

    def _check_keys(self, session: Session, staged: sa.Table, log: LogRow, *, may_be_null: bool) -> None:
        nulls, duplicates, some = key_faults(session, staged.alias("staged"), self._target, may_be_null=may_be_null)
        if nulls or duplicates:
            why = hint(self._target, self._of_source) if duplicates else ""
            self._verify(Loaded(log.partition_key, 0, 0, 0, 0, nulls, duplicates, examples=some, hint=why))
            raise KeyColumnError(
                f"{log.scoring}: {nulls} keys are NULL and {duplicates} occur more than once: {', '.join(some)}"
            )

    def _drop_quietly(self, session: Session, staged: sa.Table) -> None:
        """Drop a staging table; where the connection is gone, the next load sweeps it."""
        try:
            session.execute(drop_table(str(staged.schema), staged.name))
        except PoolError as error:
            _logger.info("%s stays behind for the next load to sweep: %s", staged.name, error)

    def _no_rows(self) -> sa.FromClause:
        """Key and output columns without rows."""
        columns = [self._table.c[name] for name in self._target.staged_names]
        return sa.select(*columns).where(sa.literal_column("1") == sa.literal_column("0")).subquery("nothing")

    def _swap(
        self, session: Session, staged: sa.FromClause, log: LogRow, uncertain: list[Loaded], started: float
    ) -> Loaded:
        rows = staged.alias("staged")
        with self._taking(session, log), session.transaction():
            loaded = swap(session, self._table, self._target, log, self._mode, rows, self._verify, started=started)
            uncertain.append(loaded)
        self._owned = True
        return loaded

    def _taking(self, session: Session, log: LogRow) -> AbstractContextManager[None]:
        """Where a target gets its first rows of a scoring, nobody else may take it meanwhile."""
        if log.target is None or self._owned or not is_first(session, log):
            return nullcontext()
        return self._pool.guard(session, resource_name(log.target, ""))
