"""From staged predictions into the target, each slice in one transaction with its row of the scoring log."""

import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from onnx_pipeline.errors import KeyColumnError, PredictionError, StagingError
from onnx_pipeline.partitions import Fingerprint
from onnx_pipeline.pools.base import Loaded, LogRow, Pool, SliceLoad
from onnx_pipeline.scoring.extract import schema_json
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.staging import Staged, Staging

__all__ = ["LoadedSlice", "RowCount", "load"]


@dataclass(frozen=True)
class RowCount:
    """Rows of a slice, counted on both sides before the commit."""

    partition_key: str
    staged: int
    """Staged predictions of this run."""
    source: int
    """Rows of the slice when its features were read."""
    loaded: int
    """Rows that the transaction put into the target, or that an upsert updated there."""
    present: int
    """Rows of this run and partition in the target, as the pool counts them."""

    @property
    def equal(self) -> bool:
        return self.source == self.staged == self.loaded == self.present


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
    counted: Callable[[RowCount], None],
) -> Iterator[LoadedSlice]:
    """Load the staged slices of `keys`; yields each after its commit.

    `counted` is told the counts of each slice before its commit. Raises PredictionError where they differ and
    KeyColumnError where a key is NULL or not unique: the transaction is rolled back, and the target is as it was.
    """
    scoring, mode = plan.spec.scoring, plan.spec.load_mode
    pool.ensure_target(plan.target)
    staged = {key: _staged(plan, staging, key) for key in keys}
    slices = [_slice_load(scoring, piece, key, run_id) for key, piece in staged.items()]
    logs = {piece.log.partition_key: piece.log for piece in slices}

    def verify(loaded: Loaded) -> None:
        log = logs[loaded.partition_key]
        where = f"{scoring}, partition {loaded.partition_key!r}"
        if loaded.null_keys or loaded.duplicate_keys:
            raise KeyColumnError(
                f"{where}: key ({', '.join(plan.key)}) is NULL in {loaded.null_keys} rows, and {loaded.duplicate_keys} "
                f"of its values occur more than once. Nothing was loaded. Choose a `key` that identifies a row, or "
                "make rows distinct in a `query`."
            )
        moved = loaded.inserted + loaded.updated
        count = RowCount(loaded.partition_key, log.rows, log.fingerprint.rows, moved, loaded.present)
        counted(count)
        if not count.equal:
            raise PredictionError(
                f"{where}: {count.source} rows in the slice, {count.staged} staged, {count.loaded} loaded and "
                f"{count.present} counted in {plan.spec.target_table}. Nothing was changed; run the partition again."
            )

    for loaded in pool.load(plan.target, slices, mode, verify):
        yield LoadedSlice(logs[loaded.partition_key], loaded)


def _staged(plan: ScoringPlan, staging: Staging, key: str) -> Staged:
    staged = staging.find(plan.spec.scoring, "predictions", key)
    if staged.facts["schema"] != json.loads(schema_json(plan.predictions_schema)):
        raise StagingError(
            f"{plan.spec.scoring}: the staged predictions of partition {key!r} were made for another model or spec. "
            f"Materialize features and predictions of {plan.spec.scoring} for that partition together with this asset."
        )
    return staged


def _slice_load(scoring: str, staged: Staged, key: str, run_id: str) -> SliceLoad:
    facts = staged.facts
    log = LogRow(
        scoring=scoring,
        partition_key=key,
        model_sha256=facts["model_sha256"],
        rows=facts["rows"],
        fingerprint=Fingerprint(facts["source_rows"], facts["source_changed"]),
        seconds=facts["seconds"],
        run_id=run_id,
        scored_at=datetime.datetime.now(tz=datetime.timezone.utc),
        statistics=facts["statistics"],
    )
    return SliceLoad(log, staged.open, keys_ascend=facts["keys_ascend"])
