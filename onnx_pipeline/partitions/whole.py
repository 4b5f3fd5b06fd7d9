"""No partitions: the whole source is one slice."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from onnx_pipeline.partitions.base import Codes, Partitioning, way_of
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source

__all__ = ["WHOLE", "WholeTable"]


WHOLE = "all"
"""`partition_key` of the one slice of a scoring without partitions."""


class WholeTable(Partitioning):
    """One slice: the whole source."""

    definition = None

    def way(self, source: Source) -> str:
        return way_of("nothing")

    def keys(self) -> Sequence[str]:
        return (WHOLE,)

    def marker(self, source: Source, pool: Pool) -> None:
        return None

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> None:
        return None

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        return np.zeros(len(markers), dtype=np.int64)
