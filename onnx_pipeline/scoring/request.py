"""Which slices a person asks for, pending or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx_pipeline.base.errors import PartitionError, SpecError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import LOG_TABLE, Fingerprint, LogRow
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.pending import Outlook, PendingSlice, Reason, outlook
from onnx_pipeline.scoring.places import about_target, refuse_unfit
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["Request", "requested"]

_BETWEEN = ".."
_NAMED = 5
"""Most partitions that a refusal names."""


@dataclass(frozen=True)
class Request:
    """What was asked for; nothing: what is pending. At most one of these is given."""

    partitions: Sequence[str] = ()
    span: str | None = None
    """`A..B`: two partitions and all between them, both included."""
    everything: bool = False
    """Every partition that has rows, and those of the log that have none any more."""
    force: bool = False
    """What would be pending if `rescore` were `all`."""


def requested(plan: ScoringPlan, pool: Pool, request: Request) -> Outlook:
    """The slices that were asked for, in the order of their partitions.

    Raises PartitionError, naming the nearest, for a partition that the scoring does not have, and SpecError where
    `load: append` has no form for scoring a slice again.
    """
    spec, sha256 = plan.spec, plan.model.sha256
    if request.force:
        if spec.load_mode == "append":
            raise SpecError(
                f"{spec.scoring}: `load: append` loads a partition once, so --force has nothing that it could score "
                "again. Leave --force out, or use `load: replace`"
            )
        spec = spec.model_copy(update={"rescore": "all"})
    if not (request.partitions or request.span or request.everything):
        return outlook(spec, pool, plan.partitioning, sha256, source=plan.source)
    named = _named(plan, request)
    scored = pool.scored(spec.scoring, spec.target_table)
    refuse_unfit(spec, scored, plan.partitioning, plan.origin["partitions"])
    log = scored.rows if scored.target.exists else {}
    inventory = take_inventory(spec, pool, plan.partitioning, plan.source)
    held = inventory.slices
    asked = named if named is not None else held.keys() | log.keys()
    wanted = [key for key in tuple(plan.partitioning.keys()) if key in asked]
    _refuse_appended(plan, wanted, log)
    slices = [PendingSlice(key, Reason.ASKED_FOR, held.get(key, Fingerprint(0)).rows, "") for key in wanted]
    return Outlook(slices, {}, inventory, list(about_target(scored)))


def _named(plan: ScoringPlan, request: Request) -> frozenset[str] | None:
    """The partitions that were named; None where all were asked for."""
    if request.everything:
        return None
    if request.span is None:
        plan.partitioning.check(request.partitions)
        return frozenset(request.partitions)
    keys = list(plan.partitioning.keys())
    first, last = _ends(plan, request.span, keys)
    start, end = keys.index(first), keys.index(last)
    if start > end:
        raise PartitionError(
            f"the range from {first!r} to {last!r} holds no partition; the first one comes after the last. Exchange "
            "them"
        )
    return frozenset(keys[start : end + 1])


def _ends(plan: ScoringPlan, span: str, keys: Sequence[str]) -> tuple[str, str]:
    """The two ends of `A..B`. A key may hold `..` itself, so it is cut where both sides are partitions."""
    places = [place for place in range(len(span)) if span.startswith(_BETWEEN, place)]
    if not places:
        raise PartitionError(
            f"--range {span!r} is no range: write its first and its last partition with `..` between them, e.g. "
            "2026-01-01..2026-01-07"
        )
    known = frozenset(keys)
    cuts = [(span[:place], span[place + len(_BETWEEN) :]) for place in places]
    whole = [cut for cut in cuts if known.issuperset(cut)]
    if len(whole) > 1:
        told = " or ".join(f"{first!r} to {last!r}" for first, last in whole)
        raise PartitionError(f"--range {span!r} may mean {told}; name its partitions by --partition instead")
    if not whole:
        plan.partitioning.check(max(cuts, key=lambda cut: sum(end in known for end in cut)))
    return whole[0]


def _refuse_appended(plan: ScoringPlan, keys: Sequence[str], log: Mapping[str, LogRow]) -> None:
    spec = plan.spec
    loaded = [key for key in keys if key in log] if spec.load_mode == "append" else []
    if loaded:
        shown = ", ".join(map(repr, loaded[:_NAMED])) + (f" and {len(loaded) - _NAMED} more" if loaded[_NAMED:] else "")
        raise SpecError(
            f"{spec.scoring}: {shown} stand in {spec.target_table} already, and `load: append` loads a partition once. "
            f"Nothing was scored. Name only partitions that were not scored yet, or delete these from "
            f"{spec.target_table} together with their rows of {LOG_TABLE}, which makes them pending; "
            "`load: replace` exchanges partitions"
        )
