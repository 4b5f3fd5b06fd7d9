"""One table of predictions in the place of another, with their rows of the log: the statements of one transaction.

The rows move, and not the table: the object stays, and with it its grants, its indexes and the views over it, which a
table that is renamed into its place would not have. That costs one more copy of the rows.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError, StagingError
from onnx_pipeline.pools.clashes import refuse_other_owner
from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.rows import row_bytes
from onnx_pipeline.pools.scoring_log import log_table
from onnx_pipeline.pools.swap import Runs
from onnx_pipeline.pools.tables import split_name

__all__ = ["Exchange", "Exchanged", "claim", "exchange", "exchanged_before", "refuse_large", "size"]

_LOG = log_table()
_NAME_CHARACTERS = 450
"""Of the log's column `target`."""


@dataclass(frozen=True)
class Exchange:
    """What is to stand in the place of what; the tables have the same columns."""

    scoring: str
    target: Target
    side: Target
    """Holds the rows that are to stand in `target`."""
    place: str
    """`target` as the log names it."""
    side_place: str
    slices: Collection[str] = ()
    """Partitions that must have been scored into `side`."""
    backup: str | None = None
    """A table, empty and with the same columns, that is given the rows that stood."""
    upserted: bool = False
    """Whether two slices may have had a row of one key, so that fewer rows stand in `side` than were loaded."""


@dataclass(frozen=True)
class Exchanged:
    """What an exchange did, as counted within its transaction."""

    before: int
    """Rows that stood, -1 where the server does not say."""
    now: int


def claim(session: Runs, scoring: str, place: str) -> None:
    """Name the target in the rows of the log that an earlier version wrote; within a transaction."""
    _relog(session, sa.and_(_LOG.c.scoring == scoring, _LOG.c.target.is_(None)), place)


def _relog(session: Runs, rows: sa.ColumnElement[bool], place: str) -> None:
    """Give rows of the log another target: in again and out, since who scores may not update the log."""
    target = sa.cast(sa.literal(place), sa.Unicode(_NAME_CHARACTERS)).label("target")
    columns = [target if column.name == "target" else column for column in _LOG.c]
    session.execute(sa.insert(_LOG).from_select(_LOG.c.keys(), sa.select(*columns).where(rows)))
    session.execute(sa.delete(_LOG).where(rows))


def exchanged_before(session: Runs, work: Exchange) -> bool:
    """Whether nothing is left to exchange: the log has no row of the side table any more."""
    return not session.scalar(_count(_LOG).where(_of(work, work.side_place)))


def exchange(session: Runs, work: Exchange) -> Exchanged:
    """The rows of `side` into `target` in place of all that stand there, with the log; within a transaction.

    Raises StagingError, which rolls everything back, where what came is not what was scored, and TargetError where
    another scoring has rows in `target`.
    """
    # First, because on a server without application locks this is what makes it take turns with loads.
    session.execute(sa.delete(_LOG).where(_of(work, work.place)))
    refuse_other_owner(session, work.scoring, work.place)
    names = work.target.schema.names
    table, side = _table(work.target.table, names), _table(work.side.table, names)
    scored = int(session.scalar(_count(side)))
    _refuse_incomplete(session, work, scored)
    if work.backup is not None:
        backup = _table(work.backup, names)
        session.execute(sa.insert(backup).from_select(names, sa.select(*table.c.values())))
    deleted = session.execute(sa.delete(table))
    session.execute(sa.insert(table).from_select(names, sa.select(*side.c.values())))
    now = int(session.scalar(_count(table)))
    if now != scored:
        raise StagingError(
            f"{work.scoring}: {scored:,} rows were scored into {work.side.table}, and {now:,} would stand in "
            f"{work.target.table}: something else loads into it. Nothing was changed. End that, then run repartition again."
        )
    _relog(session, _of(work, work.side_place), work.place)
    return Exchanged(deleted, now)


def _refuse_incomplete(session: Runs, work: Exchange, rows: int) -> None:
    """Raise StagingError where the side table is not what its log says, or lacks a slice.

    Another repartition may have exchanged and dropped it meanwhile, or one that was killed may have left rows in it.
    """
    of_side = sa.select(_LOG.c.partition_key, _LOG.c.rows).where(_of(work, work.side_place))
    logged: dict[str, int] = dict(session.rows(of_side.order_by(_LOG.c.scored_at)))
    missing = sorted(set(work.slices) - logged.keys())
    known = sum(logged.values())
    if missing:
        what = (
            f"{work.side.table} lacks {len(missing):,} of {len(set(work.slices)):,} partitions, {missing[0]!r} for one"
        )
    elif rows > known or (rows < known and not work.upserted):
        what = f"{rows:,} rows stand in {work.side.table}, and the log says {known:,}"
    else:
        return
    raise StagingError(
        f"{work.scoring}: {what}: another repartition is at work, or something else changed that table. Nothing was "
        f"changed. End that, then run `onnx-pipeline repartition {work.scoring}` again."
    )


def size(target: Target) -> sa.Select[Any]:
    """How many rows stand in a table."""
    return _count(_table(target.table, target.schema.names))


def refuse_large(work: Exchange, limit: int | None, rows: int, pool: str) -> None:
    """Raise PoolError where the transaction would be larger than one may be; `rows` is how many it writes and deletes."""
    size = rows * row_bytes(work.target.schema)
    if limit is not None and size > limit:
        raise PoolError(
            f"{work.scoring}: exchanging {work.target.table} moves {size / 1e6:,.0f} MB in one transaction, and {pool} takes "
            f"{limit / 1e6:,.0f} MB. {work.target.table} is as it was, and what was scored stays in {work.side.table}. Raise "
            "?slice_limit=<MB> in the pool's URL where its service level allows and run repartition again, which scores "
            "nothing twice; or name another `target`, which `onnx-pipeline run` fills."
        )


def _of(work: Exchange, place: str) -> sa.ColumnElement[bool]:
    return sa.and_(_LOG.c.scoring == work.scoring, _LOG.c.target == place)


def _table(name: str, columns: list[str]) -> sa.TableClause:
    schema, table = split_name(name)
    return sa.table(table, *(sa.column(column) for column in columns), schema=schema)


def _count(rows: sa.FromClause) -> sa.Select[Any]:
    return sa.select(sa.func.count().label("n")).select_from(rows)
