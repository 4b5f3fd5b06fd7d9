"""What may not stand in one target: rows of two scorings, and rows that were cut in two ways.

A load asks within its transaction, after it has deleted its own row of the log. On a server without application locks
that DELETE is what makes loads take turns, so what another one has committed is seen.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from onnx_pipeline.base.errors import TargetError
from onnx_pipeline.pools.records import LOG_TABLE, LogRow, Scored
from onnx_pipeline.pools.scoring_log import log_table

__all__ = ["is_first", "refuse_clashes", "refuse_other_owner", "refuse_other_ways", "refuse_owned"]

_LOG = log_table()


class Asks(Protocol):
    """What asks within one transaction."""

    def rows(self, statement: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
        """All rows of a small result."""


def is_first(session: Asks, log: LogRow) -> bool:
    """Whether the log has no row of the scoring in its target yet: then another scoring may be about to take it, too."""
    of_ours = sa.select(_LOG.c.run_id).where(_LOG.c.scoring == log.scoring, _LOG.c.target == log.target)
    return not session.rows(of_ours.limit(1))


def refuse_clashes(session: Asks, log: LogRow) -> None:
    """Raise TargetError where the log has rows of another scoring in the target, or of this one cut in another way.

    A row that names no target, or no way, is an earlier version's, and stands for nothing here.
    """
    if log.target is None:
        return
    clash = _LOG.c.scoring != log.scoring
    if log.partitions is not None:
        clash = sa.or_(clash, _LOG.c.partitions != log.partitions)
    found = session.rows(
        sa.select(_LOG.c.scoring, _LOG.c.partitions).where(_LOG.c.target == log.target, clash).limit(1)
    )
    for scoring, partitions in found:
        if scoring != log.scoring:
            raise _owned(log.scoring, log.target, scoring)
        raise _cut_otherwise(log.scoring, log.target, partitions, str(log.partitions))


def refuse_other_owner(session: Asks, scoring: str, target: str) -> None:
    """Raise TargetError where the log has rows of another scoring in the target."""
    of_others = sa.select(_LOG.c.scoring).where(_LOG.c.target == target, _LOG.c.scoring != scoring)
    for (owner,) in session.rows(of_others.limit(1)):
        raise _owned(scoring, target, owner)


def refuse_owned(scoring: str, scored: Scored) -> None:
    """Raise TargetError where the target is another scoring's."""
    if scored.owner is not None:
        raise _owned(scoring, scored.target.name, scored.owner)


def refuse_other_ways(scoring: str, target: str, logs: Iterable[LogRow], way: str) -> None:
    """Raise TargetError for rows that were cut in another way than `way`."""
    for log in logs:
        if log.partitions is not None and log.partitions != way:
            raise _cut_otherwise(scoring, target, log.partitions, way)


def _owned(scoring: str, target: str, owner: str) -> TargetError:
    of_owner = f"WHERE scoring = '{_escaped(owner)}' AND target = '{_escaped(target)}'"
    rename = f"UPDATE {LOG_TABLE} SET scoring = '{_escaped(scoring)}' {of_owner}"  # noqa: S608 - for people to run
    release = f"DELETE FROM {LOG_TABLE} {of_owner}"  # noqa: S608
    return TargetError(
        f"{scoring}: table {target} is the target of scoring {owner}, whose rows this one would delete. Nothing was "
        f"loaded. Give {scoring} a target of its own. Where it is {owner} under a new name, give it the rows of the log: "
        f"{rename}. Where {owner} is retired, empty or drop the table, since its rows would stay beside the new ones, and "
        f"release the table: {release}"
    )


def told(way: str) -> str:
    """A way of partitioning for people: `time (column day, every day, timezone UTC)`."""
    facts = json.loads(way)
    by = facts.pop("by")
    parts = [f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in facts.items()]
    return f"{by} ({', '.join(parts)})" if parts else str(by)


def _cut_otherwise(scoring: str, target: str, before: str, now: str) -> TargetError:
    return TargetError(
        f"{scoring}: the rows in {target} were cut by {told(before)}, and the spec's `partitions` now cut by {told(now)}, so that "
        f"rows would stand there twice. Nothing was loaded. `onnx-pipeline repartition {scoring}` scores into a new "
        "table and then exchanges table and log; or put `partitions` back, or name another `target`."
    )


def _escaped(text: str) -> str:
    return text.replace("'", "''")
