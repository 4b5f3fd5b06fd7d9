"""Partitions that are listed values of a column.

One rule decides which row has a value, in the inventory, in the predicate and in placing: a text has it where its code
points are the value's, blanks at the end left out; anything else where the value's number, day or time is its own.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.base.arrow import is_text, mask, to_numpy
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.partitions.base import Codes, Partitioning, way_of
from onnx_pipeline.partitions.spellings import read
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

    def _column_and_type(self, source: Source) -> tuple[sa.ColumnElement[Any], pa.DataType]:
        name = source.name(self._column, role="partitions.column")
        return source.column(name), source.schema.field(name).type

    def marker(self, source: Source, pool: Pool) -> sa.ColumnElement[Any]:
        column, arrow = self._column_and_type(source)
        return pool.exact_text(column) if is_text(arrow) else column

    def check_source(self, source: Source) -> None:
        _, arrow = self._column_and_type(source)
        every = read(self._keys, arrow, self._column)
        if pa.types.is_floating(arrow):
            every = pc.add(every, pa.scalar(0, arrow))
        if len(every.unique()) < len(every):
            raise SpecError(
                f"partitions.values {list(self._keys)} name the same {arrow} twice, and its rows would be loaded twice"
            )

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool]:
        self.check_source(source)
        column, arrow = self._column_and_type(source)
        values = read(keys, arrow, self._column).to_pylist()
        return pool.among(column, values) if is_text(arrow) else column.in_(values)

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        if pa.types.is_dictionary(markers.type):
            markers = markers.dictionary_decode()
        values = read(keys, markers.type, self._column)
        if pa.types.is_floating(markers.type):
            # Arrow tells -0.0 from 0.0, and no database does.
            zero = pa.scalar(0, markers.type)
            markers, values = pc.add(markers, zero), pc.add(values, zero)
        codes = to_numpy(pc.fill_null(pc.index_in(markers, value_set=values), -1)).astype(np.int64)
        if markers.null_count:
            codes[mask(markers)] = -2
        return codes
