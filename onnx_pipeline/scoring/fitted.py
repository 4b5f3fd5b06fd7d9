"""Rows of the source in the types in which they are staged."""

import pyarrow as pa

from onnx_pipeline.base.errors import FeatureValueError, KeyColumnError
from onnx_pipeline.base.instants import as_python, is_instant
from onnx_pipeline.models.fitting import fit, nan_as_null
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["cut_key", "fitted"]


def fitted(plan: ScoringPlan, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keys and features as the pool gave them → as they are staged: in the model's dtypes, and NaN as NULL.

    Raises FeatureValueError for a value that a dtype cannot hold, KeyColumnError for a key that its target cannot.
    """
    width = len(plan.key)
    schema = plan.features_schema
    keys = [_key(column, field) for column, field in zip(batch.columns[:width], schema, strict=False)]
    dtypes = plan.binding.columns
    try:
        features = [
            nan_as_null(fit(column, staged, dtypes[staged]))
            for column, staged in zip(batch.columns[width:], dtypes, strict=True)
        ]
    except FeatureValueError as error:
        raise FeatureValueError(plan.features[error.column], error.row, error.reason) from error
    return pa.RecordBatch.from_arrays([*keys, *features], schema=schema)


def _key(column: pa.Array, field: pa.Field) -> pa.Array:
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        if not is_instant(column.type):
            raise
    raise cut_key(field, column.type, _first_misfit(column, field.type))


def cut_key(field: pa.Field, arrow: pa.DataType, value: str) -> KeyColumnError:
    """The error for a key of the type `arrow` that its target's type would cut."""
    return KeyColumnError(
        f"key column {field.name!r} is {arrow} and holds {value}, which the "
        f"target's {field.type} cannot keep: two keys could become one. Nothing was scored. Cast it in a `query`: "
        f"`{field.name}::TIMESTAMP` where microseconds tell rows apart, `epoch_ns({field.name})` or "
        f"`{field.name}::VARCHAR` where they do not"
    )


def _first_misfit(column: pa.Array, wanted: pa.DataType) -> str:
    """The first value that a cast would change."""
    return next(str(as_python(value)) for value in column if not _fits(value, wanted))


def _fits(value: pa.Scalar, wanted: pa.DataType) -> bool:
    try:
        value.cast(wanted)
    except pa.ArrowInvalid:
        return False
    return True
