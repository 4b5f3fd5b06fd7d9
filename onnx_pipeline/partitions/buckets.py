"""Partitions that are hash buckets of the key."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import to_numpy
from onnx_pipeline.partitions.base import Codes, Partitioning, way_of
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.partitions import PartitionSpec

__all__ = ["BucketPartitioning"]


class BucketPartitioning(Partitioning):
    """Partitions are hash buckets of the key, `bucket_00` to `bucket_<n-1>`; the pool computes the hash."""

    def __init__(self, spec: PartitionSpec, key: Sequence[str]) -> None:
        assert spec.buckets is not None
        self._key = tuple(key)
        self._buckets = spec.buckets
        width = len(str(spec.buckets - 1))
        self._keys = tuple(f"bucket_{index:0{width}d}" for index in range(spec.buckets))
        self.definition = dg.StaticPartitionsDefinition(list(self._keys))

    def way(self, source: Source) -> str:
        return way_of("buckets", buckets=self._buckets, key=[source.name(name, role="key") for name in self._key])

    def keys(self) -> Sequence[str]:
        return self._keys

    def marker(self, source: Source, pool: Pool) -> sa.ColumnElement[Any]:
        return pool.bucket([source.column(name, role="key") for name in self._key], self._buckets)

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool]:
        return self.marker(source, pool).in_([self._number(key) for key in keys])

    @staticmethod
    def _number(key: str) -> int:
        return int(key.removeprefix("bucket_"))

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        index_of = np.full(self._buckets, -1, dtype=np.int64)
        index_of[[self._number(key) for key in keys]] = np.arange(len(keys))
        codes: Codes = index_of[to_numpy(markers.cast(pa.int64()))]
        return codes
