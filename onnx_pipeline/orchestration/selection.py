"""Which partitions a run was asked for.

Dagster takes some selections that cannot be meant, and runs them: a reversed range gives no partition and succeeds, a
bogus key reaches the asset, a missing tag runs a partitioned asset unpartitioned. Each is refused here.
"""

from collections.abc import Sequence

import dagster as dg

from onnx_pipeline.base.errors import PartitionError
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.partitions.whole import WHOLE

__all__ = ["RANGE_END_TAG", "RANGE_START_TAG", "requested_partitions"]

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def requested_partitions(context: dg.AssetExecutionContext, scoring: str, partitions: Partitioning) -> Sequence[str]:
    """The partition keys that this step is to work on, in order; `PartitionError` where there are none."""
    tags = context.run.tags
    single, first, last = tags.get(PARTITION_TAG), tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    if partitions.definition is None:
        given = single or first or last
        if given is not None:
            raise PartitionError(
                f"{scoring} has no partitions, and the run was asked for {given!r}: leave the partition tags out, or "
                "give the scoring `partitions` in its defs.yaml"
            )
        return (WHOLE,)
    example = _example(partitions)
    if single is None and first is None and last is None:
        raise PartitionError(
            f"{scoring} is partitioned, and the run names no partition. Add --tags "
            f'\'{{"{PARTITION_TAG}": "{example}"}}\' for one, or {RANGE_START_TAG} and {RANGE_END_TAG} for a range.'
        )
    if single is not None:
        partitions.check([single])
        return (single,)
    if first is None or last is None:
        missing = RANGE_START_TAG if first is None else RANGE_END_TAG
        raise PartitionError(f"{scoring}: the run names one end of a range of partitions; the tag {missing} is missing")
    partitions.check([first, last])
    keys = list(context.partition_keys)
    if not keys:
        raise PartitionError(
            f"{scoring}: the range from {first!r} to {last!r} holds no partition; the first one comes after the last. "
            "Exchange them."
        )
    return keys


def _example(partitions: Partitioning) -> str:
    keys = partitions.keys()
    return keys[-1] if keys else "<partition key>"
