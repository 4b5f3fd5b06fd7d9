"""The column `changed`: the greatest value of a slice is the same one, whether the pool or this process finds it."""

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.base.arrow import is_text
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source, changed_order
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["changed_column", "changed_name", "greatest", "later"]


def changed_name(spec: ScoringSpec, source: Source) -> str | None:
    """The source's name of the column, None where the spec names none; SpecError where its type has no order."""
    if spec.source_spec.changed is None:
        return None
    name = source.name(spec.source_spec.changed, role="source.changed")
    arrow = source.schema.field(name).type
    if pa.types.is_nested(arrow) or pa.types.is_interval(arrow):
        raise SpecError(
            f"source.changed: column {name!r} is {arrow}, of which no value is the latest, so changed rows would not "
            "be found. Name a time or a number that grows whenever a row changes"
        )
    return name


def changed_column(spec: ScoringSpec, source: Source, pool: Pool) -> sa.ColumnElement[Any] | None:
    """The column as statements select it; a text compares by its code points, whatever its collation."""
    name = changed_name(spec, source)
    if name is None:
        return None
    column = source.column(name)
    return pool.by_code_point(column) if is_text(source.schema.field(name).type) else column


def greatest(values: pa.Array) -> pa.Scalar:
    """What `max` of a pool gives: NULLs left out, and NaN greater than every number."""
    if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        return pa.scalar(math.nan, values.type)
    return pc.max(values)


def later(value: pa.Scalar, known: pa.Scalar | None) -> pa.Scalar | None:
    """The later of two values of one column; NULL is none."""
    if not value.is_valid:
        return known
    return value if known is None or changed_order(value) > changed_order(known) else known
