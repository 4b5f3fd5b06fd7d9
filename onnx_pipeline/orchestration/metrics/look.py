"""One look at a scoring: the log and the inventory in the pool, and Dagster's runs of it.

A run is a process that ends before anybody scrapes it, so it exports nothing. The scoring log outlives it, and
is written in the transaction of the rows: what is counted here are rows that stand.
"""

import datetime
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterRunStatus

from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.orchestration.run_history import scores
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import LogRow
from onnx_pipeline.scoring.pending import PendingSlice, Reason, outlook
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["DAY", "Memory", "Runs", "Seen", "count_failures", "look", "runs_of"]

DAY = datetime.timedelta(days=1)


@dataclass
class Memory:
    """What one scoring's looks have in common for as long as an exporter runs."""

    pending_since: dict[str, datetime.datetime] = field(default_factory=dict)
    """When a slice was first seen pending, by partition key."""
    counted: dict[str, datetime.datetime] | None = None
    """When each slice had been scored at the look before; None before the first look, which counts nothing."""
    slices: int = 0
    rows: int = 0
    seconds: float = 0.0
    """Slices scored between two looks, their rows and the seconds of their loads."""
    failed_runs: frozenset[str] | None = None
    failures: int = 0
    """Runs that failed between two looks."""


@dataclass(frozen=True)
class Seen:
    """What one look at the pool found of a scoring. Instants are UTC."""

    slices: int
    rows: int
    last_scored: datetime.datetime | None
    last_run_rows: int
    last_run_seconds: float
    """Of the run that wrote the newest row of the log: over the slices that it loaded and that still stand."""
    pending: Mapping[Reason, int]
    pending_rows: int
    oldest_pending_seconds: float
    """Since the end of a time partition that was never scored; else since it was first seen pending. 0: nothing is."""
    outside: int
    """Rows of the source that belong to no partition, and are never scored."""


@dataclass(frozen=True)
class Runs:
    """Dagster's runs of a scoring in the last day."""

    unfinished: int
    failed: frozenset[str]
    """The ids of those that failed."""
    last_failed: bool
    """Whether the newest one that ended had failed."""


def look(spec: ScoringSpec, pool: Pool, store: ArtifactStore, memory: Memory, *, now: datetime.datetime) -> Seen:
    """Look at the pool as the new-rows sensor does: by one connection.

    Raises OnnxPipelineError where the pool does not answer in time, or the scoring cannot run.
    """
    partitions = partitioning(spec)
    current = store.current(spec.scoring)
    with pool.looking("looking at a scoring") as looked_at:
        scored = looked_at.scored(spec.scoring, spec.target_table)
        found = outlook(spec, looked_at, partitions, None if current is None else current.sha256, scored=scored)
    rows = scored.rows if scored.target.exists else {}
    _count(memory, rows)
    newest = max(rows.values(), key=lambda log: log.scored_at, default=None)
    of_last_run = [log for log in rows.values() if newest is not None and log.run_id == newest.run_id]
    return Seen(
        slices=len(rows),
        rows=sum(log.rows for log in rows.values()),
        last_scored=None if newest is None else newest.scored_at,
        last_run_rows=sum(log.rows for log in of_last_run),
        last_run_seconds=sum(log.seconds for log in of_last_run),
        pending=Counter(piece.reason for piece in found.slices),
        pending_rows=sum(piece.rows for piece in found.slices),
        oldest_pending_seconds=_oldest(found.slices, partitions, memory, now),
        outside=found.inventory.outside,
    )


def _count(memory: Memory, rows: Mapping[str, LogRow]) -> None:
    """Count what was scored since the look before. A slice that was scored twice between the two counts once."""
    if memory.counted is not None:
        fresh = [log for key, log in rows.items() if memory.counted.get(key) != log.scored_at]
        memory.slices += len(fresh)
        memory.rows += sum(log.rows for log in fresh)
        memory.seconds += sum(log.seconds for log in fresh)
    memory.counted = {key: log.scored_at for key, log in rows.items()}


def _oldest(slices: Sequence[PendingSlice], partitions: Partitioning, memory: Memory, now: datetime.datetime) -> float:
    memory.pending_since = {
        piece.partition_key: min(memory.pending_since.get(piece.partition_key, now), _due(piece, partitions, now))
        for piece in slices
    }
    return max(((now - since).total_seconds() for since in memory.pending_since.values()), default=0.0)


def _due(piece: PendingSlice, partitions: Partitioning, now: datetime.datetime) -> datetime.datetime:
    """Since when a slice could have been scored, as far as that is known without having seen it before."""
    if piece.reason is Reason.NEVER_SCORED and isinstance(partitions.definition, dg.TimeWindowPartitionsDefinition):
        return min(now, partitions.definition.time_window_for_partition_key(piece.partition_key).end)
    return now


def runs_of(instance: dg.DagsterInstance, scorings: Collection[str], *, now: datetime.datetime) -> Mapping[str, Runs]:
    """The last day's runs of each scoring, by one look at Dagster's run storage."""
    unfinished: Counter[str] = Counter()
    failed: dict[str, set[str]] = {scoring: set() for scoring in scorings}
    ended: dict[str, bool] = {}
    ends = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
    for record in instance.get_run_records(filters=dg.RunsFilter(updated_after=now - DAY)):  # the newest first
        run = record.dagster_run
        for scoring in scorings:
            if not scores(run, scoring):
                continue
            if run.status not in ends:
                unfinished[scoring] += 1
                continue
            if run.status is DagsterRunStatus.FAILURE:
                failed[scoring].add(run.run_id)
            if run.status is not DagsterRunStatus.CANCELED:
                ended.setdefault(scoring, run.status is DagsterRunStatus.FAILURE)
    return {
        scoring: Runs(unfinished[scoring], frozenset(failed[scoring]), ended.get(scoring, False))
        for scoring in scorings
    }


def count_failures(memory: Memory, runs: Runs) -> None:
    """Count the runs that failed since the look before."""
    if memory.failed_runs is not None:
        memory.failures += len(runs.failed - memory.failed_runs)
    memory.failed_runs = runs.failed
