"""A column in the dtype that the model takes: the rules of `base.rules`, over Arrow arrays."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.arrow import from_numpy, mask, null_of, to_numpy
from onnx_pipeline.base.errors import FeatureValueError, SignatureError
from onnx_pipeline.base.rules import misfit, type_advice
from onnx_pipeline.base.types import can_feed, column_type_of_onnx, family_of_arrow

__all__ = ["check_type", "fit", "has_nan", "is_all_null", "missing_count", "nan_as_null"]

Tensor = np.ndarray[Any, Any]

_EXACT = 2**53
"""Integers up to here are doubles."""
_EXACT_POWER = 22
"""Powers of ten up to this one are doubles."""


def check_type(source: pa.DataType, column: str, dtype: str) -> None:
    """Raises SignatureError, naming the column, where a column of that type cannot fill the dtype at all."""
    if not can_feed(source, dtype) and not is_all_null(source):
        raise SignatureError(
            f"column {column!r} has the type {source}, and the model takes {dtype}: the cast would change what the "
            f"values mean; {type_advice(family_of_arrow(source), dtype)}, or bind another column in `features`"
        )


def is_all_null(source: pa.DataType) -> bool:
    """Whether a column of that type holds nothing but NULL: a category without values is a dictionary of these."""
    return bool(pa.types.is_null(source.value_type if pa.types.is_dictionary(source) else source))


def fit(array: pa.Array, column: str, dtype: str) -> pa.Array:
    """`[N]` values → `[N]` of the Arrow type of ONNX Runtime's `dtype`; NULL stays NULL, NaN in a float stays NaN.

    What has that type already is handed back as it is. NaN becomes NULL on the way into an integer. Raises
    SignatureError for a type that cannot fill the dtype, FeatureValueError for a value.
    """
    kind = column_type_of_onnx(dtype, tensor=column)
    target = kind.arrow
    if array.type == target:
        return array
    if is_all_null(array.type):
        return pa.nulls(len(array), target)
    check_type(array.type, column, dtype)
    if pa.types.is_dictionary(array.type):
        return fit(array.dictionary_decode(), column, dtype)
    if dtype in {"string", "bool"} or kind.numpy is None:
        return array.cast(target)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if pa.types.is_floating(target):
        return _to_float(array, column, dtype, kind.numpy)
    if pa.types.is_floating(array.type):
        return _whole(array, column, dtype, kind.numpy)
    try:
        return array.cast(target, safe=True)
    except pa.ArrowInvalid as error:
        raise _first_misfit(array, column, dtype) from error


def _to_float(array: pa.Array, column: str, dtype: str, wanted: np.dtype[Any]) -> pa.Array:
    numbers = _decimals(array) if pa.types.is_decimal(array.type) else array
    values = to_numpy(numbers)
    if pa.types.is_integer(array.type):
        values = values.astype(np.float64)  # first the nearest double, as of every other number
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            made = values.astype(wanted)
    except FloatingPointError:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            made = values.astype(wanted)
        beyond = np.isinf(made) & np.isfinite(values)
        if array.null_count:
            beyond &= ~mask(array)  # what lies under a NULL is anything
        if beyond.any():
            raise _refused(array, int(np.argmax(beyond)), column, dtype) from None
    return _with_nulls(made, array)


def _whole(array: pa.Array, column: str, dtype: str, wanted: np.dtype[Any]) -> pa.Array:
    values = to_numpy(array).astype(np.float64)
    array = nan_as_null(array)
    info = np.iinfo(wanted)
    # Both bounds are doubles; the greatest of 64 bits itself is none.
    fits = (values >= float(info.min)) & (values < float(int(info.max) + 1)) & (np.trunc(values) == values)
    if array.null_count:
        fits |= mask(array)
    if not fits.all():
        raise _refused(array, int(np.argmin(fits)), column, dtype)
    with np.errstate(invalid="ignore"):
        return _with_nulls(values.astype(wanted), array)


def _decimals(array: pa.Array) -> pa.Array:
    """The nearest double of each decimal. Arrow's own cast multiplies by an inexact power of ten: 1.15 becomes
    1.1500000000000001.
    """
    scale = array.type.scale
    if array.type.bit_width < 128:
        array = array.cast(pa.decimal128(array.type.precision, scale))
    if array.type.bit_width == 128 and abs(scale) <= _EXACT_POWER:
        buffer = array.buffers()[1]
        words: Tensor = np.zeros(0, "<i8")
        if buffer is not None:
            words = np.frombuffer(buffer, "<i8", count=2 * len(array), offset=16 * array.offset)
        low, high = words[0::2], words[1::2]
        small = (high == low >> 63) & (low >= -_EXACT) & (low <= _EXACT)
        if array.null_count:
            small |= mask(array)
        if small.all():
            # One division of two exact numbers is rounded once, so it is the nearest double.
            values = low.astype(np.float64)
            power = float(10 ** abs(scale))
            return _with_nulls(values / power if scale >= 0 else values * power, array)
    # By the text, which is read to the nearest double: some 0.3 µs a value.
    return array.cast(pa.string()).cast(pa.float64())


def _with_nulls(values: Tensor, array: pa.Array) -> pa.Array:
    made = from_numpy(values)
    return pc.if_else(array.is_valid(), made, null_of(made.type)) if array.null_count else made


def _first_misfit(array: pa.Array, column: str, dtype: str) -> FeatureValueError:
    for row, value in enumerate(array.to_pylist()):
        if value is not None and misfit(value, dtype) is not None:
            return _refused(array, row, column, dtype)
    raise AssertionError(f"column {column!r} was refused as {dtype}, and every value of it fits")


def _refused(array: pa.Array, row: int, column: str, dtype: str) -> FeatureValueError:
    reason = misfit(array[row].as_py(), dtype) or f"has no form in {dtype}"
    return FeatureValueError(column, row, reason)


def has_nan(array: pa.Array) -> bool:
    """Whether some value of a column may be NaN; what lies under a NULL may say so falsely.

    The least of values of which one is NaN is NaN: 0.2 ns a value, where looking at each takes 1.5.
    """
    if not pa.types.is_floating(array.type) or not len(array):
        return False
    with np.errstate(invalid="ignore"):
        return bool(np.isnan(np.min(to_numpy(array))))


def nan_as_null(array: pa.Array) -> pa.Array:
    """The column with NULL in the place of NaN."""
    if not has_nan(array):
        return array
    values = to_numpy(array)
    return pc.if_else(from_numpy(~np.isnan(values)), array, null_of(array.type))


def missing_count(column: pa.Array | pa.ChunkedArray) -> int:
    """NULLs and NaNs in a column; in one that is dictionary-encoded, also those that its dictionary holds."""
    if isinstance(column, pa.ChunkedArray):
        return sum(map(missing_count, column.chunks))
    if pa.types.is_dictionary(column.type):
        if column.dictionary.null_count or has_nan(column.dictionary):
            return missing_count(column.dictionary_decode())
        return int(column.null_count)
    return int(nan_as_null(column).null_count)
