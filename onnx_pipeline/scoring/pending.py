"""Which slices need scoring, and why. The scoring log is the truth about what was scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Fingerprint, LogRow
from onnx_pipeline.scoring.inventory import Inventory, take_inventory
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["PendingSlice", "Reason", "contiguous", "pending"]


class Reason(str, Enum):
    """Why a slice needs scoring."""

    NEVER_SCORED = "never scored"
    SOURCE_CHANGED = "source changed"
    MODEL_CHANGED = "model changed"


@dataclass(frozen=True)
class PendingSlice:
    """A slice that needs scoring."""

    partition_key: str
    reason: Reason
    rows: int
    """Rows of the slice now."""
    detail: str
    """What differs, for people to read."""


def pending(
    spec: ScoringSpec,
    pool: Pool,
    partitions: Partitioning,
    model_sha256: str | None,
    *,
    inventory: Inventory | None = None,
) -> list[PendingSlice]:
    """The slices that need scoring, in the order of their partitions, by one grouped query.

    `model_sha256` is the model that lies at the spec's URI now; None leaves new models out. `inventory` where it was
    taken already.
    """
    log = pool.scoring_log(spec.scoring)
    held = (inventory or take_inventory(spec, pool, partitions)).slices
    keys = list(partitions.keys())
    rescored = _rescored(spec, keys, held, log) if model_sha256 is not None else frozenset[str]()
    found = []
    for key in keys:
        now, row = held.get(key, Fingerprint(0)), log.get(key)
        if row is None:
            if now.rows:
                found.append(PendingSlice(key, Reason.NEVER_SCORED, now.rows, ""))
        elif spec.load_mode == "append":
            # A slice is appended once: neither changed rows nor a new model can be loaded again.
            continue
        elif row.fingerprint != now:
            found.append(PendingSlice(key, Reason.SOURCE_CHANGED, now.rows, _difference(row.fingerprint, now)))
        elif key in rescored and row.model_sha256 != model_sha256:
            detail = f"{row.model_sha256[:12]} → {str(model_sha256)[:12]}"
            found.append(PendingSlice(key, Reason.MODEL_CHANGED, now.rows, detail))
    return found


def _rescored(
    spec: ScoringSpec, keys: Sequence[str], held: dict[str, Fingerprint], log: dict[str, LogRow]
) -> frozenset[str]:
    """Partitions that a new model scores again: of those with rows, all or the latest."""
    latest = spec.rescore_latest
    filled = [key for key in keys if key in held and key in log]
    if latest is None:
        return frozenset(filled)
    return frozenset(filled[-latest:] if latest else ())


def _difference(before: Fingerprint, now: Fingerprint) -> str:
    parts = []
    if before.rows != now.rows:
        parts.append(f"{before.rows:,} → {now.rows:,} rows")
    if before.changed != now.changed:
        parts.append(f"changed {before.changed or 'never'} → {now.changed or 'never'}")
    return ", ".join(parts)


def contiguous(slices: Sequence[PendingSlice], keys: Sequence[str], *, most: int) -> list[list[PendingSlice]]:
    """Slices as runs take them: neighbours together, at most `most` of them."""
    index_of = {key: index for index, key in enumerate(keys)}
    groups: list[list[PendingSlice]] = []
    for piece in slices:
        group = groups[-1] if groups else None
        joined = (
            group is not None
            and len(group) < most
            and index_of[group[-1].partition_key] + 1 == index_of[piece.partition_key]
        )
        if joined and group is not None:
            group.append(piece)
        else:
            groups.append([piece])
    return groups
