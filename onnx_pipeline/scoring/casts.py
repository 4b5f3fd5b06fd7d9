"""Features in the model's dtypes, made by the pool: for engines that score there.

The rules are those of `base.rules`, as `models.fitting` has them for rows that come here. A cast of the database would
round a fraction away, or fail without saying where: a value that has no form in the dtype becomes NULL instead, and is
marked, counted and told.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import FeatureValueError
from onnx_pipeline.base.rules import Family, bounds, is_float, misfit, rounds_up_from
from onnx_pipeline.base.types import column_type_of_onnx, family_of_arrow
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.offending import value_refused
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["feature_columns", "is_misfit", "misfit_error"]

Sql = sa.ColumnElement[Any]

_GREATEST_DOUBLE = 1.7976931348623157e308
_EXACT_IN_FLOAT = 32
"""Bits of an integer which a double holds exactly, so that it is rounded once on its way to a float32."""


def feature_columns(plan: ScoringPlan, pool: Pool) -> list[Sql]:
    """The features under their staged names, in the dtypes that the model reads."""
    return [_feature(plan, pool, staged, dtype).label(staged) for staged, dtype in plan.binding.columns.items()]


def _feature(plan: ScoringPlan, pool: Pool, staged: str, dtype: str) -> Sql:
    column, arrow = _source(plan, staged)
    kind = column_type_of_onnx(dtype, tensor=staged)
    if dtype == "string":
        # An enumeration compares with its own values only.
        return sa.cast(column, kind.sql()) if pa.types.is_dictionary(arrow) else column
    if arrow == kind.arrow:
        return column
    made: Sql = column
    if dtype in ("float", "float16") and not _is_exact_in_double(arrow):
        made = sa.cast(made, sa.Double())
    made = sa.cast(made, kind.sql())
    nothing: Sql = sa.cast(sa.null(), kind.sql())
    if pa.types.is_floating(arrow) and not is_float(dtype):
        return sa.case((pool.is_missing(column, arrow), nothing), (_refused(pool, staged, plan), nothing), else_=made)
    refused = is_misfit(plan, pool, staged)
    return made if refused is None else sa.case((refused, nothing), else_=made)


def _source(plan: ScoringPlan, staged: str) -> tuple[Sql, pa.DataType]:
    name = plan.features[staged]
    return plan.source.column(name), plan.source.schema.field(name).type


def _is_exact_in_double(arrow: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(arrow)
        or pa.types.is_boolean(arrow)
        or (pa.types.is_integer(arrow) and arrow.bit_width <= _EXACT_IN_FLOAT)
    )


def is_misfit(plan: ScoringPlan, pool: Pool, staged: str) -> sa.ColumnElement[bool] | None:
    """Whether a value has no form in the model's dtype, as `rules.misfit` says; None where every value has one."""
    column, arrow = _source(plan, staged)
    dtype = plan.binding.columns[staged]
    family = family_of_arrow(arrow)
    if family not in (Family.INTEGER, Family.FLOAT, Family.DECIMAL) or dtype in ("string", "bool"):
        return None
    if is_float(dtype):
        rounded_up = rounds_up_from(dtype)
        if rounded_up is None or not _reaches(arrow, rounded_up):
            return None
        wide = column if pa.types.is_float64(arrow) else sa.cast(column, sa.Double())
        size: Sql = sa.func.abs(wide)
        # Neither infinity nor NaN, which DuckDB sorts above every number.
        return sa.and_(size >= _number(rounded_up), size <= _number(_GREATEST_DOUBLE))
    if family is Family.INTEGER:
        return _outside(column, dtype, *bounds(str(arrow)))
    if family is Family.DECIMAL:
        reach = 10 ** (arrow.precision - arrow.scale) - 1
        outside = _outside(column, dtype, -reach, reach)
        tests = [] if outside is None else [outside]
        if arrow.scale > 0:
            tests.append(column != sa.func.floor(column))
        return sa.or_(*tests) if tests else None
    return _refused(pool, staged, plan)


def _refused(pool: Pool, staged: str, plan: ScoringPlan) -> sa.ColumnElement[bool]:
    """Of a float that is to be an integer: a fraction, infinity or out of range; a missing one is none of these."""
    column, arrow = _source(plan, staged)
    wide: Sql = column if pa.types.is_float64(arrow) else sa.cast(column, sa.Double())
    least, greatest = bounds(plan.binding.columns[staged])
    # Both bounds are doubles; the greatest of 64 bits itself is none.
    outside = sa.or_(wide < _number(float(least)), wide >= _number(float(greatest + 1)))
    return sa.and_(sa.not_(pool.is_missing(column, arrow)), sa.or_(outside, wide != sa.func.floor(wide)))


def _reaches(arrow: pa.DataType, bound: float) -> bool:
    """Whether a column of that type holds values so large."""
    if pa.types.is_floating(arrow):
        return bool(float(np.finfo(arrow.to_pandas_dtype()).max) >= bound)
    if pa.types.is_decimal(arrow):
        return bool(10.0 ** (arrow.precision - arrow.scale) > bound)
    return bool(2.0**arrow.bit_width > bound)


def _outside(column: Sql, dtype: str, least: int, greatest: int) -> sa.ColumnElement[bool] | None:
    """Whether a whole number of that reach is out of the dtype's range."""
    low, high = bounds(dtype)
    tests = [column < _number(low)] if least < low else []
    tests += [column > _number(high)] if greatest > high else []
    return sa.or_(*tests) if tests else None


def misfit_error(plan: ScoringPlan, pool: Pool, partition_key: str, staged: str, count: int) -> FeatureValueError:
    """What keeps a slice from being scored, with one of the values where the source still has it."""
    column, _ = _source(plan, staged)
    refused = is_misfit(plan, pool, staged)
    assert refused is not None
    keys = [key.label(f"key_{place}") for place, key in enumerate(plan.key_columns())]
    statement = sa.select(*keys, column.label("value")).select_from(plan.source.selectable).where(refused)
    predicate = plan.partitioning.predicate(plan.source, pool, [partition_key])
    found = pool.fetch((statement if predicate is None else statement.where(predicate)).limit(1))
    dtype = plan.binding.columns[staged]
    reason = f"holds {count:,} values that have no form in the model's {dtype}"
    if found.num_rows:
        reason = misfit(found["value"][0].as_py(), dtype) or reason
    error = FeatureValueError(plan.features[staged], 0, reason)
    return value_refused(plan, partition_key, found.to_batches()[0], error) if found.num_rows else error


def _number(value: float) -> Sql:
    return sa.literal_column(repr(value), sa.Double() if isinstance(value, float) else sa.BigInteger())
