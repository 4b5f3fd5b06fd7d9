"""The partitions that a spec describes."""

from functools import lru_cache

from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.partitions.buckets import BucketPartitioning
from onnx_pipeline.partitions.time import TimePartitioning
from onnx_pipeline.partitions.values import ValuePartitioning
from onnx_pipeline.partitions.whole import WholeTable
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["partitioning"]


def partitioning(spec: ScoringSpec) -> Partitioning:
    """The partitions that a spec describes."""
    partition_spec = spec.partition_spec
    if partition_spec is None:
        return WholeTable()
    if partition_spec.kind == "time":
        return _by_time(partition_spec)
    if partition_spec.kind == "values":
        return ValuePartitioning(partition_spec)
    return BucketPartitioning(partition_spec, spec.key)


@lru_cache(maxsize=256)
def _by_time(spec: PartitionSpec) -> TimePartitioning:
    """One for all that ask for the same: each scoring asks eight times while its definitions load."""
    return TimePartitioning(spec)
