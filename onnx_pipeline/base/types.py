"""The one table of column types: SQL ⇄ Arrow ⇄ ONNX, both ways; every pool and every engine uses it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.errors import SignatureError, UnsupportedModelError
from onnx_pipeline.base.rules import FILLS, Family, family_of_onnx

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

__all__ = [
    "COLUMN_TYPES",
    "ColumnType",
    "can_feed",
    "column_type_of_arrow",
    "column_type_of_onnx",
    "family_of_arrow",
    "sqlalchemy_type",
]

SqlFactory = Callable[[], "TypeEngine[Any]"]


@dataclass(frozen=True)
class ColumnType:
    """One kind of column, and what it is called on each side."""

    name: str
    """Our own name, e.g. `int64`; unique in the table."""
    arrow: pa.DataType
    """What a column of this kind is in flight and in staging."""
    numpy: np.dtype[Any] | None
    """The tensor's element type; None for a type that only a key may have."""
    onnx: str | None
    """ONNX Runtime's name of the element type, e.g. `float`; None for a type that only a key may have."""
    sql: SqlFactory = field(compare=False, repr=False)
    """Makes the SQLAlchemy type that stores every value of this kind."""


def _sql(name: str, *arguments: object, **options: object) -> SqlFactory:
    """A factory, because importing SQLAlchemy takes 0.7 s and most commands need no SQL type."""

    def make() -> "TypeEngine[Any]":
        import sqlalchemy.types

        made: TypeEngine[Any] = getattr(sqlalchemy.types, name)(*arguments, **options)
        return made

    return make


# T-SQL has one unsigned type (TINYINT) and Synapse no more than that, so an unsigned integer takes the next
# wider signed one; 64 unsigned bits fit only a decimal. REAL and not FLOAT(24): every pool reads REAL as 4
# bytes.
COLUMN_TYPES: tuple[ColumnType, ...] = (
    ColumnType("bool", pa.bool_(), np.dtype("bool"), "bool", _sql("Boolean")),
    ColumnType("int8", pa.int8(), np.dtype("int8"), "int8", _sql("SmallInteger")),
    ColumnType("int16", pa.int16(), np.dtype("int16"), "int16", _sql("SmallInteger")),
    ColumnType("int32", pa.int32(), np.dtype("int32"), "int32", _sql("Integer")),
    ColumnType("int64", pa.int64(), np.dtype("int64"), "int64", _sql("BigInteger")),
    ColumnType("uint8", pa.uint8(), np.dtype("uint8"), "uint8", _sql("SmallInteger")),
    ColumnType("uint16", pa.uint16(), np.dtype("uint16"), "uint16", _sql("Integer")),
    ColumnType("uint32", pa.uint32(), np.dtype("uint32"), "uint32", _sql("BigInteger")),
    ColumnType("uint64", pa.uint64(), np.dtype("uint64"), "uint64", _sql("Numeric", 20, 0)),
    ColumnType("float16", pa.float16(), np.dtype("float16"), "float16", _sql("REAL")),
    ColumnType("float32", pa.float32(), np.dtype("float32"), "float", _sql("REAL")),
    ColumnType("float64", pa.float64(), np.dtype("float64"), "double", _sql("Double")),
    ColumnType("string", pa.string(), np.dtype("object"), "string", _sql("Unicode")),
    ColumnType("date", pa.date32(), None, None, _sql("Date")),
    ColumnType("time", pa.time64("us"), None, None, _sql("Time")),
    ColumnType("timestamp", pa.timestamp("us"), None, None, _sql("DateTime")),
    ColumnType("timestamp_utc", pa.timestamp("us", "UTC"), None, None, _sql("DateTime", timezone=True)),
    ColumnType("uuid", pa.uuid(), None, None, _sql("Uuid")),
)
_BY_NAME = {kind.name: kind for kind in COLUMN_TYPES}
_BY_ARROW = {kind.arrow: kind for kind in COLUMN_TYPES}
_BY_ONNX = {kind.onnx: kind for kind in COLUMN_TYPES if kind.onnx is not None}


def column_type_of_arrow(arrow: pa.DataType, *, column: str) -> ColumnType:
    """The kind of an Arrow column.

    A dictionary counts as its values, a decimal as a double, every unit of time as microseconds.
    Raises SignatureError, naming column and type, for a type that the table does not have.
    """
    if pa.types.is_dictionary(arrow):
        return column_type_of_arrow(arrow.value_type, column=column)
    if arrow in _BY_ARROW:
        return _BY_ARROW[arrow]
    if pa.types.is_decimal(arrow):
        return _BY_NAME["float64"]
    if pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return _BY_NAME["string"]
    if pa.types.is_timestamp(arrow):
        return _BY_NAME["timestamp" if arrow.tz is None else "timestamp_utc"]
    if pa.types.is_date(arrow):
        return _BY_NAME["date"]
    if pa.types.is_time(arrow):
        return _BY_NAME["time"]
    raise SignatureError(
        f"column {column!r} has the type {arrow}, which has no form as a feature, a key or a prediction; "
        f"cast it in the source query to one of {', '.join(_BY_NAME)} or a decimal"
    )


def column_type_of_onnx(name: str, *, tensor: str) -> ColumnType:
    """The kind of a tensor's elements, by ONNX Runtime's name with or without `tensor(...)`.

    Raises UnsupportedModelError, naming tensor and dtype, for a dtype that the table does not have.
    """
    bare = name.removeprefix("tensor(").removesuffix(")") if name.startswith("tensor(") else name
    if bare in _BY_ONNX:
        return _BY_ONNX[bare]
    raise UnsupportedModelError(
        f"tensor {tensor!r} has the dtype {bare}, which no table column has; "
        f"export the model with a Cast to one of {', '.join(_BY_ONNX)}"
    )


def sqlalchemy_type(arrow: pa.DataType, *, column: str) -> "TypeEngine[Any]":
    """The SQLAlchemy type that stores an Arrow column without loss; a decimal keeps its digits.

    Raises SignatureError, naming column and type, for a type that the table does not have.
    """
    if pa.types.is_decimal(arrow):
        import sqlalchemy.types

        return sqlalchemy.types.Numeric(arrow.precision, arrow.scale)
    return column_type_of_arrow(arrow, column=column).sql()


def family_of_arrow(arrow: pa.DataType) -> Family | None:
    """The family of an Arrow column, by which `base.rules` says what it may fill; None for dates and the like."""
    if pa.types.is_dictionary(arrow):
        return family_of_arrow(arrow.value_type)
    if pa.types.is_boolean(arrow):
        return Family.BOOL
    if pa.types.is_integer(arrow):
        return Family.INTEGER
    if pa.types.is_floating(arrow):
        return Family.FLOAT
    if pa.types.is_decimal(arrow):
        return Family.DECIMAL
    return Family.TEXT if _is_string(arrow) else None


def can_feed(source: pa.DataType, onnx: str) -> bool:
    """Whether an Arrow column may fill a tensor of that ONNX dtype at all; of each value `base.rules` says the rest."""
    family = family_of_arrow(source)
    return onnx in _BY_ONNX and family is not None and (family, family_of_onnx(onnx)) in FILLS


def _is_string(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))
