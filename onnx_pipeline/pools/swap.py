"""How one slice gets into its target, whatever database that is: the statements of one transaction, built once.

A pool says where the rows lie and runs the statements; what they are, and in which order, is the same for all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from onnx_pipeline.base.errors import AlreadyLoadedError
from onnx_pipeline.pools.clashes import refuse_clashes
from onnx_pipeline.pools.records import LOG_TABLE, Loaded, LogRow, Target, Verify
from onnx_pipeline.pools.scoring_log import log_record, log_table
from onnx_pipeline.spec.target import PROVENANCE

__all__ = ["KeyFaults", "Runs", "already_loaded", "is_logged", "key_faults", "swap", "swap_empty"]

_TEXT = {"partition_key": 450, "model_sha256": 64, "run_id": 64}
"""Characters of the provenance columns: what a text is cast to, because a server types a bound text by its length."""

_LOG = log_table()

_EXAMPLES = 3
"""Most keys that a refusal names."""


class KeyFaults(NamedTuple):
    """What is wrong with the keys of some rows."""

    nulls: int = 0
    """Rows with a NULL in their key."""
    duplicates: int = 0
    """Keys that occur more than once."""
    examples: tuple[str, ...] = ()
    """Some of these, as text."""


class Runs(Protocol):
    """What runs statements within one transaction."""

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """The number of rows that it touched, -1 where the server does not say."""

    def scalar(self, statement: sa.Select[Any]) -> Any:
        """The first column of the first row."""

    def rows(self, statement: sa.Select[Any]) -> list[tuple[Any, ...]]:
        """All rows of a small result."""


def swap(
    session: Runs,
    table: sa.Table,
    target: Target,
    log: LogRow,
    mode: str,
    rows: sa.FromClause,
    verify: Verify,
    *,
    faults: Callable[[], KeyFaults] = KeyFaults,
    started: float,
) -> Loaded:
    """Put `rows`, key and output columns, into `table` in place of the slice, with the log row; within a transaction.

    `faults` is asked once the rows are in, and `verify` after it; what it raises rolls everything back.
    Raises AlreadyLoadedError for `append` of a slice that the log has, TargetError where the target holds rows of another
    scoring, or rows that were cut in another way.
    """
    # First, because on a server without application locks this is what makes loads of a slice take turns.
    was_logged = session.execute(sa.delete(_LOG).where(_same(log)))
    if mode == "append" and was_logged > 0:
        raise already_loaded(log, target)
    refuse_clashes(session, log)
    in_slice = table.c.partition_key == log.partition_key
    deleted = max(0, session.execute(sa.delete(table).where(in_slice))) if mode == "replace" else 0
    inserted, updated = _move(session, table, target, log, mode, rows)
    # What was deleted was the whole slice: then its key is enough, which is what an index has, and a row of anybody else
    # between is one too many.
    ours = in_slice if mode == "replace" else sa.and_(in_slice, table.c.run_id == log.run_id)
    present = int(session.scalar(_count().select_from(table).where(ours)))
    if inserted < 0 or updated < 0:
        # The server does not say: what was counted came by this load.
        inserted, updated = present, 0
    found = faults()
    loaded = Loaded(
        log.partition_key, inserted, updated, deleted, present, found.nulls, found.duplicates, examples=found.examples
    )
    verify(loaded)
    seconds = log.seconds + time.monotonic() - started
    session.execute(sa.insert(_LOG).values(log_record(replace(log, seconds=seconds))))
    return loaded


def swap_empty(session: Runs, table: sa.Table, logs: Sequence[LogRow], mode: str, verify: Verify) -> Sequence[LogRow]:
    """Log slices without rows by a few statements for all of them; within a transaction. Gives those that it left.

    Left are those of which the target still has rows, which have to go, and for `append` those that the log has.
    """
    ours = sa.or_(*map(_same, logs))
    stands = 0
    if mode == "replace":
        keys = [log.partition_key for log in logs]
        stands = int(session.scalar(_count().select_from(table).where(table.c.partition_key.in_(keys))))
    elif mode == "append":
        stands = int(session.scalar(_count().select_from(_LOG).where(ours)))
    if stands and len(logs) == 1:
        return logs
    if stands:
        halves = logs[: len(logs) // 2], logs[len(logs) // 2 :]
        return [log for half in halves for log in swap_empty(session, table, half, mode, verify)]
    session.execute(sa.delete(_LOG).where(ours))
    for log in logs:
        verify(Loaded(log.partition_key, 0, 0, 0, 0, 0, 0))
    session.execute(sa.insert(_LOG).values([log_record(log) for log in logs]))
    return ()


def _move(
    session: Runs, table: sa.Table, target: Target, log: LogRow, mode: str, rows: sa.FromClause
) -> tuple[int, int]:
    """The rows into the target: how many were inserted, how many updated."""
    provenance = _provenance(log)
    # By their names alone, as they come from one table: some server reads `staged.score` slowly.
    values: list[sa.ColumnElement[Any]] = [sa.column(name) for name in target.staged_names]
    new = sa.select(*values, *provenance.values()).select_from(rows)
    updated = 0
    if mode == "upsert":
        matches = sa.and_(*(table.c[name] == rows.c[name] for name in target.key))
        changes: dict[str, sa.ColumnElement[Any]] = {
            name: rows.c[name] for name in target.staged_names if name not in target.key
        }
        updated = session.execute(sa.update(table).values({**changes, **provenance}).where(matches))
        known: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(table).where(matches).correlate(rows)
        new = new.where(~sa.exists(known))
    inserted = session.execute(sa.insert(table).from_select(target.schema.names, new))
    return inserted, updated


def key_faults(
    session: Runs,
    rows: sa.FromClause,
    target: Target,
    where: sa.ColumnElement[bool] | None = None,
    *,
    may_be_null: bool = True,
    parts: Sequence[sa.ColumnElement[bool]] = (),
) -> KeyFaults:
    """What is wrong with the keys of `rows`, those of them that `where` is true of.

    Of `parts` each key meets exactly one: they are grouped one after the other, where a database could not hold all groups.
    """
    keys = [rows.c[name] for name in target.key]
    conditions = [] if where is None else [where]
    absent = _count().select_from(rows).where(*conditions, sa.or_(*(key.is_(None) for key in keys)))
    nulls = int(session.scalar(absent)) if may_be_null else 0
    duplicates, examples = 0, list[str]()
    for within in [[*conditions, part] for part in parts] or [conditions]:
        found = int(session.scalar(_count().select_from(_repeated(rows, keys, within))))
        if found and len(examples) < _EXAMPLES:
            examples += _some(session, rows, keys, within)
        duplicates += found
    return KeyFaults(nulls, duplicates, tuple(examples[:_EXAMPLES]))


def _repeated(
    rows: sa.FromClause, keys: Sequence[sa.ColumnElement[Any]], conditions: Sequence[sa.ColumnElement[bool]]
) -> sa.Subquery:
    """The keys that occur more than once, as `key_0` and so on."""
    named = [key.label(f"key_{index}") for index, key in enumerate(keys)]
    every = sa.select(*named).select_from(rows).where(*conditions).group_by(*keys)
    return every.having(sa.func.count() > sa.literal_column("1")).subquery("groups")


def _some(
    session: Runs,
    rows: sa.FromClause,
    keys: Sequence[sa.ColumnElement[Any]],
    conditions: Sequence[sa.ColumnElement[bool]],
) -> tuple[str, ...]:
    """Some keys that occur more than once; of those that a collation holds equal, as they are written."""
    groups = _repeated(rows, keys, conditions)
    same = sa.and_(*(key == group for key, group in zip(keys, groups.c, strict=True)))
    some = sa.select(*keys).select_from(rows.join(groups, same)).where(*conditions).limit(4 * _EXAMPLES)
    return tuple(dict.fromkeys(_shown(row) for row in session.rows(some)))[:_EXAMPLES]


def _shown(key: tuple[Any, ...]) -> str:
    """A key for people; of a long text its beginning, and blanks at an end can be seen."""
    texts = [repr(part if len(part) <= 60 else f"{part[:60]}…") if isinstance(part, str) else str(part) for part in key]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def is_logged(session: Runs, log: LogRow, *, by_this_run: bool = False) -> bool:
    """Whether the scoring log has the slice; `by_this_run`, whether this very load wrote it."""
    statement = _count().select_from(_LOG).where(_same(log))
    if by_this_run:
        moment = log.scored_at.replace(tzinfo=None)
        statement = statement.where(_LOG.c.run_id == log.run_id, _LOG.c.scored_at == moment)
    return bool(session.scalar(statement))


def already_loaded(log: LogRow, target: Target) -> AlreadyLoadedError:
    return AlreadyLoadedError(
        f"{log.scoring}: partition {log.partition_key!r} stands in {target.table} already, and `load: append` "
        "loads a partition once. Use `load: replace` to score it again, or delete its row from "
        f"{LOG_TABLE} together with its rows in {target.table}."
    )


def _count() -> sa.Select[Any]:
    return sa.select(sa.func.count().label("n"))


def _same(log: LogRow) -> sa.ColumnElement[bool]:
    """The log's row of this slice. One of an earlier version names no target, and counts as this one's."""
    same = sa.and_(_LOG.c.scoring == log.scoring, _LOG.c.partition_key == log.partition_key)
    if log.target is None:
        return same
    return sa.and_(same, sa.or_(_LOG.c.target == log.target, _LOG.c.target.is_(None)))


def _provenance(log: LogRow) -> Mapping[str, sa.ColumnElement[Any]]:
    texts = {name: sa.cast(getattr(log, name), sa.Unicode(length)) for name, length in _TEXT.items()}
    # Written out: a bound one travels as text, which a server may read again for every row.
    moment = sa.literal(log.scored_at.replace(tzinfo=None), sa.DateTime(), literal_execute=True)
    return {name: texts.get(name, moment) for name in PROVENANCE}
