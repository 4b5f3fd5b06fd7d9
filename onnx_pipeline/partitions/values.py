"""Partitions that are listed values of a column."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.base.arrow import mask, to_numpy
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.partitions.base import Codes, Partitioning, way_of
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.partitions import PartitionSpec

__all__ = ["ValuePartitioning"]


class ValuePartitioning(Partitioning):
    """Partitions are listed values of a column."""

    def __init__(self, spec: PartitionSpec) -> None:
        assert spec.values is not None
        assert spec.column is not None
        self._column = spec.column
        self._keys = tuple(str(value) for value in spec.values)
        self.definition = dg.StaticPartitionsDefinition(list(self._keys))

    def way(self, source: Source) -> str:
        return way_of("values", column=source.name(self._column, role="partitions.column"))

    def may_have_had(self, key: str) -> bool:
        return True

    def keys(self) -> Sequence[str]:
        return self._keys

    def marker(self, source: Source, pool: Pool) -> sa.ColumnElement[Any]:
        return source.column(self._column, role="partitions.column")

    def _typed(self, keys: Sequence[str], arrow: pa.DataType) -> pa.Array:
        try:
            return pa.array(keys, pa.string()).cast(arrow)
        except pa.ArrowInvalid as error:
            raise SpecError(
                f"partitions.values {list(keys)} cannot all be read as {arrow}, the type of column {self._column!r}"
            ) from error

    def check_source(self, source: Source) -> None:
        arrow = source.schema.field(source.name(self._column, role="partitions.column")).type
        every = self._typed(self._keys, arrow)
        if len(every.unique()) < len(every):
            raise SpecError(
                f"partitions.values {list(self._keys)} name the same {arrow} twice, and its rows would be loaded twice"
            )

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool]:
        self.check_source(source)
        arrow = source.schema.field(source.name(self._column)).type
        return self.marker(source, pool).in_(self._typed(keys, arrow).to_pylist())

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        if pa.types.is_dictionary(markers.type):
            markers = markers.dictionary_decode()
        indexes = pc.fill_null(pc.index_in(markers, value_set=self._typed(keys, markers.type)), -1)
        codes = to_numpy(indexes).astype(np.int64)
        if markers.null_count:
            codes[mask(markers)] = -2
        return codes
