"""What log and catalogue say of a scoring's target, for people, and what must not be loaded into it."""

from collections.abc import Collection, Iterator

from onnx_pipeline.base.errors import TargetError
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.pools.clashes import refuse_other_ways, refuse_owned
from onnx_pipeline.pools.records import LOG_TABLE, Scored
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["about_former", "about_target", "refuse_unfit"]

_NAMED = 5
"""Most partitions that a note names."""

_LOOKED_AT = 20
"""Keys of an earlier version's log that are held against the spec's partitions: a way that fits some fits all."""


def about_target(scored: Scored) -> Iterator[str]:
    """A target that is missing though it was scored, and other tables that the scoring has filled."""
    name = scored.target.name
    lost = sum(1 for log in scored.rows.values() if log.rows) if not scored.target.exists else 0
    if lost:
        yield f"table {name} is missing, and {_partitions(lost)} that stood there are scored again"
    for table, count in sorted(scored.elsewhere.items()):
        yield f"{_partitions(count)} of this scoring stand in {table} as they were; the target is now {name}"


def about_former(scored: Scored, keys: Collection[str]) -> Iterator[str]:
    """Slices of partitions that the spec had and has no more: nothing looks after them, and `repartition` neither."""
    known = frozenset(keys)
    former = sorted(key for key, log in scored.rows.items() if log.rows and key not in known)
    if not former or not scored.target.exists:
        return
    more = f" and {len(former) - _NAMED} more" if former[_NAMED:] else ""
    shown = ", ".join(map(repr, former[:_NAMED])) + more
    yield (
        f"{_partitions(len(former))} that the spec no longer has stand in {scored.target.name} as they were: "
        f"{shown}. Where they are not wanted, delete them there by partition_key, and their rows of {LOG_TABLE}"
    )


def refuse_unfit(spec: ScoringSpec, scored: Scored, partitions: Partitioning, way: str) -> None:
    """Raise TargetError where the target is another scoring's, or its rows were cut otherwise than `way`."""
    refuse_owned(spec.scoring, scored)
    if not scored.target.exists:
        return
    name = scored.target.name
    refuse_other_ways(spec.scoring, name, scored.rows.values(), way)
    # A log of an earlier version does not say how; its keys may.
    known = frozenset(partitions.keys())
    unsaid = sorted(key for key, log in scored.rows.items() if log.partitions is None and key not in known)
    for key in unsaid[:_LOOKED_AT]:
        if not partitions.may_have_had(key):
            raise TargetError(
                f"{spec.scoring}: {name} holds rows of the partition {key!r}, and the spec's `partitions` now cut by "
                f"{way}, which has no such partition, so that rows would stand there twice. Nothing was loaded. "
                f"`onnx-pipeline repartition {spec.scoring}` scores into a new table and then exchanges table and log; "
                "or put `partitions` back, or name another `target`."
            )


def _partitions(count: int) -> str:
    return f"{count:,} {'partition' if count == 1 else 'partitions'}"
