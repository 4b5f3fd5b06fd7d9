"""Which slices need scoring, and why. The scoring log is the truth about what was scored."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Fingerprint, LogRow, Scored, Source
from onnx_pipeline.scoring.inventory import Inventory, take_inventory
from onnx_pipeline.scoring.places import about_former, about_target, refuse_unfit
from onnx_pipeline.scoring.settings import differences, settings_of
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Outlook", "PendingSlice", "Reason", "contiguous", "outlook", "pending"]


_NOTHING = Fingerprint(0)


class Reason(str, Enum):
    """Why a slice needs scoring."""

    NEVER_SCORED = "never scored"
    TARGET_MISSING = "target missing"
    SOURCE_CHANGED = "source changed"
    MODEL_CHANGED = "model changed"
    SETTINGS_CHANGED = "settings changed"
    ASKED_FOR = "asked for"
    """A person named it, pending or not."""


@dataclass(frozen=True)
class PendingSlice:
    """A slice that needs scoring."""

    partition_key: str
    reason: Reason
    rows: int
    """Rows of the slice now."""
    detail: str
    """What differs, for people to read."""


@dataclass(frozen=True)
class Outlook:
    """What a scoring has to do, and what it leaves as it is."""

    slices: list[PendingSlice]
    """In the order of their partitions."""
    left: Mapping[Reason, int]
    """How many slices changed, or were scored by another model or with other settings, and the spec leaves them so."""
    inventory: Inventory
    """What the source holds, also of no partition."""
    notes: list[str]
    """What else there is to say, for people to read: of `left`, and of a target that is missing or new."""


def pending(spec: ScoringSpec, pool: Pool, partitions: Partitioning, model_sha256: str | None) -> list[PendingSlice]:
    """The slices that need scoring; see `outlook`."""
    return outlook(spec, pool, partitions, model_sha256).slices


def outlook(
    spec: ScoringSpec,
    pool: Pool,
    partitions: Partitioning,
    model_sha256: str | None,
    *,
    source: Source | None = None,
    scored: Scored | None = None,
) -> Outlook:
    """What needs scoring, by one look at log and catalogue and one grouped query of the source.

    `model_sha256` is the model that lies at the spec's URI now; None leaves new models out. `source` and `scored`
    where they were looked up already. Raises TargetError where the target is another scoring's, or holds rows that were
    cut in another way.
    """
    scored = scored or pool.scored(spec.scoring, spec.target_table)
    source = source or pool.source(spec)
    refuse_unfit(spec, scored, partitions, partitions.way(source))
    inventory = take_inventory(spec, pool, partitions, source)
    held = inventory.slices
    keys = list(partitions.keys())
    rescored = _rescored(spec, keys, held)

    @cache
    def now_by(model: str) -> str | None:
        return settings_of(spec, source, scored.signatures.get(model))

    def changed(log: LogRow) -> Iterator[tuple[Reason, str]]:
        """What a slice would be scored by otherwise, though its source is as it was."""
        if model_sha256 is not None and log.model_sha256 != model_sha256:
            yield Reason.MODEL_CHANGED, f"{log.model_sha256[:12]} → {model_sha256[:12]}"
        names = differences(log.settings, now_by(log.model_sha256)) if log.settings is not None else []
        if names:
            yield Reason.SETTINGS_CHANGED, ", ".join(names)

    found: list[PendingSlice] = []
    left: Counter[Reason] = Counter()
    left_settings: set[str] = set()
    for key in keys:
        now, log = held.get(key, _NOTHING), scored.rows.get(key)
        if log is None or not scored.target.exists:
            reason = Reason.NEVER_SCORED if log is None else Reason.TARGET_MISSING
            if now.rows:
                found.append(PendingSlice(key, reason, now.rows, "" if log is None else scored.target.name))
        elif spec.load_mode != "append" and log.fingerprint != now:
            found.append(PendingSlice(key, Reason.SOURCE_CHANGED, now.rows, _difference(log.fingerprint, now)))
        elif now.rows or log.fingerprint != now:
            reasons = dict(changed(log))
            if log.fingerprint != now:
                reasons[Reason.SOURCE_CHANGED] = ""
            if not reasons:
                continue
            # A slice is appended once: neither changed rows nor a new model can be loaded again.
            if reasons and key in rescored and spec.load_mode != "append":
                found.append(PendingSlice(key, next(iter(reasons)), now.rows, "; ".join(reasons.values())))
            else:
                left.update(reasons.keys())
                left_settings.update(reasons.get(Reason.SETTINGS_CHANGED, "").split(", "))
    notes = [*about_target(scored), *about_former(scored, keys), *_left_notes(spec, left, left_settings - {""})]
    return Outlook(found, left, inventory, notes)


def _rescored(spec: ScoringSpec, keys: Sequence[str], held: Collection[str]) -> frozenset[str]:
    """Partitions that a new model or other settings score again: of those with rows, all or the latest."""
    latest = spec.rescore_latest
    filled = [key for key in keys if key in held]
    if latest is None:
        return frozenset(filled)
    return frozenset(filled[-latest:] if latest else ())


def _left_notes(spec: ScoringSpec, left: Mapping[Reason, int], settings: Collection[str]) -> Iterator[str]:
    again = (
        "`load: append` loads a slice once"
        if spec.load_mode == "append"
        else f"`onnx-pipeline run --force {spec.scoring}` scores them again"
    )
    told = f"with other settings ({', '.join(sorted(settings))})"
    for reason, by in (
        (Reason.SOURCE_CHANGED, "before their rows changed"),
        (Reason.MODEL_CHANGED, "by another model"),
        (Reason.SETTINGS_CHANGED, told),
    ):
        count = left.get(reason, 0)
        if count:
            yield f"{count:,} {'slice was' if count == 1 else 'slices were'} scored {by}; {again}"


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
