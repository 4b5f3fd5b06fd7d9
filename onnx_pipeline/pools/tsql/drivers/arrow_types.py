"""What drivers hand out, in the Arrow types that the rest of the code reads: microseconds, plain strings, UUIDs."""

import datetime
import decimal
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.arrow import from_numpy

__all__ = ["aligned", "from_description", "from_driver", "to_arrow"]

_ALIGNMENT = 16
"""Bytes: what readers of a DECIMAL's 128 bits may count on."""


def from_driver(field: pa.Field) -> pa.Field:
    """A result's column, named and typed as we read it."""
    return pa.field(field.name, _canonical(field.type))


def _canonical(arrow: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return pa.string()
    if pa.types.is_large_binary(arrow):
        return pa.binary()
    if pa.types.is_fixed_size_binary(arrow) and arrow.byte_width == 16:
        return pa.uuid()
    if pa.types.is_timestamp(arrow):
        return pa.timestamp("us") if arrow.tz is None else pa.timestamp("us", "UTC")
    if pa.types.is_time(arrow):
        return pa.time64("us")
    return arrow


def to_arrow(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The array in the type that `from_driver` promised; a server's 100 ns are cut to microseconds."""
    if wanted == pa.uuid():
        return pa.ExtensionArray.from_storage(wanted, array.cast(pa.binary(16)))
    cut = array.cast(wanted, safe=False)
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        # A cast cuts towards 1970: before it that is the next microsecond, which may lie in the next partition.
        late = pc.greater(cut.cast(array.type), array)
        if pc.any(late).as_py():
            return pc.if_else(late, pc.subtract(cut, pa.scalar(1, pa.duration("us"))), cut)
    return cut


def from_description(column: Sequence[Any]) -> pa.DataType:
    """The type of a column of `cursor.description`: name, Python type, display size, size, precision, scale.

    A DATETIMEOFFSET is wider by seven characters than a DATETIME2 of the same scale.
    """
    _, kind, _, size, precision, scale, *_ = column
    if kind is int:
        return {3: pa.uint8(), 5: pa.int16(), 10: pa.int32()}.get(precision, pa.int64())
    if kind is float:
        return pa.float32() if precision in (7, 24) else pa.float64()
    if kind is decimal.Decimal:
        return pa.decimal128(precision, scale)
    if kind is datetime.datetime and size - scale > len("2026-01-01 00:00:00.") + 2:
        return pa.timestamp("us", "UTC")
    return {
        bool: pa.bool_(),
        datetime.date: pa.date32(),
        datetime.datetime: pa.timestamp("us"),
        datetime.time: pa.time64("us"),
        uuid.UUID: pa.uuid(),
        bytearray: pa.binary(),
        bytes: pa.binary(),
    }.get(kind, pa.string())


def aligned(array: pa.Array) -> pa.Array:
    """The array with its values where 128 bits may lie; the Arrow format itself asks for no more than 64."""
    values = array.buffers()[1] if pa.types.is_decimal(array.type) else None
    if values is None or not values.address % _ALIGNMENT:
        return array
    # Taken rows lie in a new buffer of pyarrow's own, at 64 bytes.
    return array.take(from_numpy(np.arange(len(array))))
