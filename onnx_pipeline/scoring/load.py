"""From staged predictions into the target, each slice in one transaction with its row of the scoring log."""

import datetime
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from typing_extensions import Self

from onnx_pipeline.base.errors import DataError, KeyColumnError, StagingError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Fingerprint, Loaded, LogRow, SliceLoad, Target
from onnx_pipeline.pools.rows import Rows, StagedRows, StoredFiles, StoredTable
from onnx_pipeline.scoring.places import about_target, refuse_unfit
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.refusals import Watch
from onnx_pipeline.scoring.staging import Staged, Staging
from onnx_pipeline.scoring.verdicts import RowCount, row_count

__all__ = ["LoadedSlice", "load"]

_Opening = AbstractContextManager[tuple[Staged, pa.RecordBatchReader]]


@dataclass(frozen=True)
class LoadedSlice:
    """What one partition's load did."""

    log: LogRow
    loaded: Loaded


def load(
    plan: ScoringPlan,
    pool: Pool,
    staging: Staging,
    keys: Sequence[str],
    *,
    run_id: str,
    watch: Watch | None = None,
    resumed: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[LoadedSlice]:
    """Load the staged slices of `keys`; yields each after its commit. `resumed`: not those that this run loaded before.

    Raises TargetError where the target is another scoring's, holds rows that were cut in another way, or stands with
    other columns.

    A slice whose counts differ (PredictionError), or whose key is NULL or not unique (KeyColumnError), is refused: its
    transaction is rolled back, the target is as it was, and the other slices go on. Without a `watch`, the first
    refusal is raised at the end.
    """
    # What keys are collated by is read from the source, by a connection of its own: below one holds the pool.
    target = plan.target
    with pool.looking(f"loading {plan.spec.target_table}") as held:
        yield from _load_all(plan, held, target, staging, keys, run_id, watch, resumed, say)


def _load_all(
    plan: ScoringPlan, pool: Pool, target: Target, staging: Staging, keys: Sequence[str], run_id: str,
    watch: Watch | None, resumed: bool, say: Callable[[str], None],
) -> Iterator[LoadedSlice]:  # fmt: skip
    scored = pool.scored(plan.spec.scoring, plan.spec.target_table)
    refuse_unfit(plan.spec, scored, plan.partitioning, plan.origin["partitions"])
    for text in about_target(scored):
        say(f"{plan.spec.scoring}: {text}")
    if resumed and scored.target.exists:
        keys = [key for key in keys if key not in scored.rows or scored.rows[key].run_id != run_id]
    for key in keys:
        # All of them before the first is loaded; each is looked up again when its turn comes.
        _check(plan, staging.find(plan.spec.scoring, "predictions", key), key)
    table = pool.ensure_target(target, plan.spec.scoring)
    watching = watch or Watch()
    left = list(keys)
    while left:
        loading = iter(left)
        try:
            yield from _load(plan, pool, target, staging, loading, run_id, table, watching)
        except _RefusedSlice as refused:
            watching.refuse(refused.partition_key, refused.error)
        # What was not begun when a slice was refused.
        left = list(loading)
    if watch is None:
        watching.end()


class _RefusedSlice(Exception):  # noqa: N818 - it carries the error
    """Takes a refusal out of the pool's transaction."""

    def __init__(self, partition_key: str, error: DataError) -> None:
        super().__init__(partition_key)
        self.partition_key = partition_key
        self.error = error


def _load(
    plan: ScoringPlan, pool: Pool, target: Target, staging: Staging, keys: Iterator[str], run_id: str, table: str,
    watch: Watch,
) -> Iterator[LoadedSlice]:  # fmt: skip
    scoring, mode = plan.spec.scoring, plan.spec.load_mode
    logs: dict[str, LogRow] = {}

    def slices() -> Generator[SliceLoad, None, None]:
        for key in keys:
            # Opened only now, facts and rows together: another run of this partition may have staged it anew.
            with _opened(plan, staging, key) as (facts, rows):
                logs[key] = _log_row(scoring, facts, key, run_id, table)
                yield SliceLoad(logs[key], rows)

    def verify(loaded: Loaded) -> None:
        log = logs[loaded.partition_key]
        where = f"{scoring}, partition {loaded.partition_key!r}"
        if loaded.null_keys or loaded.duplicate_keys:
            error = KeyColumnError(
                f"{where}: key ({', '.join(plan.key)}) identifies no row: {_told(loaded)}. Nothing was loaded. "
                f"Choose a `key` that identifies a row, or make rows distinct in a `query`.{loaded.hint}"
            )
            raise _RefusedSlice(loaded.partition_key, error)
        moved = loaded.inserted + loaded.updated
        count = RowCount(loaded.partition_key, log.rows, log.fingerprint.rows, moved, loaded.present)
        verdict = row_count(plan.spec, count)
        watch.show(verdict)
        try:
            verdict.enforce()
        except DataError as error:
            raise _RefusedSlice(loaded.partition_key, error) from error

    with closing(slices()) as pieces:
        for loaded in pool.load(target, pieces, mode, verify):
            yield LoadedSlice(logs[loaded.partition_key], loaded)


def _check(plan: ScoringPlan, staged: Staged, key: str) -> None:
    if not plan.made(staged.facts, plan.predictions_schema):
        raise StagingError(
            f"{plan.spec.scoring}: the staged predictions of partition {key!r} were made for another model or spec. "
            f"Materialize features and predictions of {plan.spec.scoring} for that partition together with this asset."
        )


@contextmanager
def _opened(plan: ScoringPlan, staging: Staging, key: str) -> Iterator[tuple[dict[str, Any], Rows]]:
    """The facts of a slice's predictions and the rows that they are facts of, wherever those lie."""
    scoring = plan.spec.scoring
    while True:
        # Ends where `find` finds nothing; each round somebody staged the slice anew.
        found = staging.find(scoring, "predictions", key)
        _check(plan, found, key)
        facts = found.facts
        if found.table is not None:
            yield facts, StoredTable(found.table, facts["rows"], tuple(facts["measures"]), facts["bytes"])
            return
        if found.file is None or found.file.suffix != ".parquet":
            break
        with staging.hold(found) as file:
            if file is not None:
                yield facts, StoredFiles((file,), facts["rows"])
                return
    with staging.open(scoring, "predictions", key) as (staged, reader):
        _check(plan, staged, key)
        with _Rows(staged, reader, partial(staging.open, scoring, "predictions", key)) as rows:
            yield staged.facts, StagedRows(rows.open, staged.facts["keys_ascend"], staged.facts["bytes"])


class _Rows:
    """One slice's staged rows, which a retried load reads from their start again."""

    def __init__(self, staged: Staged, reader: pa.RecordBatchReader, again: Callable[[], _Opening]) -> None:
        self._staged = staged
        self._first: pa.RecordBatchReader | None = reader
        self._again = again
        self._stack = ExitStack()

    def open(self) -> pa.RecordBatchReader:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        self._stack.close()
        staged, reader = self._stack.enter_context(self._again())
        if staged != self._staged:
            raise StagingError(
                "another run staged this partition anew while a load of it was tried again, so it was given up. "
                "Nothing was changed; run the partition again."
            )
        return reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _told(loaded: Loaded) -> str:
    """What is wrong with the keys of a slice."""
    some = f" ({', '.join(loaded.examples)})" if loaded.examples else ""
    faults = [
        (loaded.null_keys, f"it is NULL in {loaded.null_keys:,} rows"),
        (loaded.duplicate_keys, f"{loaded.duplicate_keys:,} of its values occur more than once{some}"),
    ]
    return ", and ".join(text for count, text in faults if count)


def _log_row(scoring: str, facts: dict[str, Any], key: str, run_id: str, target: str) -> LogRow:
    return LogRow(
        scoring=scoring,
        partition_key=key,
        model_sha256=facts["model_sha256"],
        rows=facts["rows"],
        fingerprint=Fingerprint(facts["source_rows"], facts["source_changed"]),
        seconds=facts["seconds"],
        run_id=run_id,
        scored_at=datetime.datetime.now(tz=datetime.timezone.utc),
        statistics=facts["statistics"],
        target=target,
        # What an earlier version staged does not say by which settings.
        settings=facts.get("settings"),
        partitions=facts.get("partitions"),
    )
