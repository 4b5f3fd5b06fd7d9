"""What Dagster's runs say about a scoring's slices: which are being scored now, and which failed and have to wait.

The scoring log is the truth about what was scored; this only keeps automation from asking twice at once, and from
asking every few minutes for what just failed.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus

from onnx_pipeline.orchestration.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.partitions.whole import WHOLE

__all__ = ["RunHistory", "run_history", "scores", "unfinished_runs"]

FIRST_WAIT = datetime.timedelta(minutes=5)
LONGEST_WAIT = datetime.timedelta(hours=1)
_REMEMBERED = datetime.timedelta(days=1)
"""A failure longer ago than this no longer counts."""

_STILLBORN = datetime.timedelta(minutes=10)
"""A run that has not begun by then never will: its process died between making it and starting it."""

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.MANAGED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class RunHistory:
    """Slices by partition key."""

    busy: frozenset[str] = frozenset()
    """What an unfinished run is about to score."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How often in a row a run over the slice failed or was canceled."""
    not_before: Mapping[str, datetime.datetime] = field(default_factory=dict)
    """When a slice that failed may be asked for again: 5 minutes later, then twice as long each time, up to an hour."""


def unfinished_runs(instance: dg.DagsterInstance) -> frozenset[str]:
    """The ids of all runs that have not ended. One whose process died counts until another run has ended it."""
    statuses = [status for status in DagsterRunStatus if status not in _FINISHED]
    return frozenset(run.run_id for run in instance.get_runs(filters=dg.RunsFilter(statuses=statuses)))


def run_history(
    instance: dg.DagsterInstance, scoring: str, partitions: Partitioning, *, now: datetime.datetime
) -> RunHistory:
    """The history of a scoring's slices.

    Runs that a person or a backfill asked for count as busy too. As failures count runs of the scoring's own job only:
    a run over several scorings does not say which of them failed.
    """
    keys = tuple(partitions.keys())
    index_of = {key: index for index, key in enumerate(keys)}
    busy: set[str] = set()
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        stillborn = run.status == DagsterRunStatus.NOT_STARTED and now - _aware(record.create_timestamp) > _STILLBORN
        if scores(run, scoring) and not stillborn:
            busy.update(_covered(run, partitions, keys, index_of))
    failures: dict[str, int] = {}
    not_before: dict[str, datetime.datetime] = {}
    settled: set[str] = set()
    recent = dg.RunsFilter(job_name=scoring, statuses=_FINISHED, created_after=now - _REMEMBERED)
    for record in instance.get_run_records(filters=recent):  # the newest first
        run = record.dagster_run
        if not scores(run, scoring):
            continue
        covered = [key for key in _covered(run, partitions, keys, index_of) if key not in settled]
        if run.status == DagsterRunStatus.SUCCESS:
            settled.update(covered)
            continue
        ended = record.end_time if record.end_time is not None else record.update_timestamp.timestamp()
        for key in covered:
            failures[key] = failures.get(key, 0) + 1
            # The first one seen is the latest one.
            not_before.setdefault(key, datetime.datetime.fromtimestamp(ended, tz=datetime.timezone.utc))
    for key, count in failures.items():
        not_before[key] += min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(count - 1, 10))
    return RunHistory(frozenset(busy), failures, not_before)


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.timezone.utc)


def scores(run: DagsterRun, scoring: str) -> bool:
    """Whether a run loads predictions of the scoring; one of its model asset alone does not."""
    if run.asset_selection:
        return dg.AssetKey([scoring, "pool_predictions"]) in run.asset_selection
    return run.job_name in (scoring, "score_all") or run.job_name.startswith("score_all_")


def _covered(
    run: DagsterRun, partitions: Partitioning, keys: Sequence[str], index_of: Mapping[str, int]
) -> Iterator[str]:
    """The slices that a run was asked for; of keys that the scoring does not have, none."""
    if partitions.definition is None:
        yield WHOLE
        return
    single = run.tags.get(PARTITION_TAG)
    first, last = single or run.tags.get(RANGE_START_TAG), single or run.tags.get(RANGE_END_TAG)
    if first is not None and last is not None and first in index_of and last in index_of:
        yield from keys[index_of[first] : index_of[last] + 1]
