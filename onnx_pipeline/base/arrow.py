"""Arrow arrays to and from numpy on the scoring path.

`pyarrow.array`, `pyarrow.scalar` (and every Python value that a compute function is given) and `Array.to_numpy`
import pandas to recognise its objects, 0.4 s of a run that takes 4 s; buffers need none.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["from_numpy", "is_text", "mask", "null_of", "scalar", "to_numpy"]

_DTYPES: dict[pa.DataType, np.dtype[Any]] = {
    pa.int8(): np.dtype(np.int8),
    pa.int16(): np.dtype(np.int16),
    pa.int32(): np.dtype(np.int32),
    pa.int64(): np.dtype(np.int64),
    pa.uint8(): np.dtype(np.uint8),
    pa.uint16(): np.dtype(np.uint16),
    pa.uint32(): np.dtype(np.uint32),
    pa.uint64(): np.dtype(np.uint64),
    pa.float16(): np.dtype(np.float16),
    pa.float32(): np.dtype(np.float32),
    pa.float64(): np.dtype(np.float64),
}
_ARROW = {dtype: arrow for arrow, dtype in _DTYPES.items()}


def is_text(arrow: pa.DataType) -> bool:
    """Whether a column holds texts; DuckDB's ENUM arrives as a dictionary of them."""
    kind = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def to_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """`[N]` numbers or booleans → `[N]`, a view where the dtype allows one; what lies under a NULL is undefined."""
    if pa.types.is_boolean(array.type):
        bits = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
        unpacked = np.unpackbits(bits, bitorder="little", count=array.offset + len(array))
        return unpacked[array.offset :].view(np.bool_)
    dtype = _DTYPES[array.type]
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(len(array), dtype=dtype)
    return np.frombuffer(buffer, dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize)


def mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """`[N]` values → `[N]`: where they are NULL."""
    return to_numpy(array.is_null())


def from_numpy(values: npt.NDArray[Any]) -> pa.Array:
    """`[N]` numbers or booleans → the Arrow array over the same memory, without NULLs."""
    values = np.ascontiguousarray(values)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    return pa.Array.from_buffers(_ARROW[values.dtype], len(values), [None, pa.py_buffer(values)])


def null_of(arrow: pa.DataType) -> pa.Scalar:
    """NULL of a type."""
    return pa.nulls(1, arrow)[0]


def finite_or_null(array: pa.Array) -> pa.Array:
    """The array with NULL for NaN and infinities; the array itself where it holds none."""
    if not pa.types.is_floating(array.type):
        return array
    import pyarrow.compute as pc

    finite = pc.is_finite(array)
    return array if to_numpy(finite).all() else pc.if_else(finite, array, null_of(array.type))


def scalar(value: Any, arrow: pa.DataType) -> pa.Scalar:
    """What `pyarrow.scalar` makes of a value: of a float or an integer for a column of such, without pandas."""
    dtype = _DTYPES.get(arrow)
    if dtype is not None and (
        (dtype.kind == "f" and type(value) is float and abs(value) <= float(np.finfo(dtype).max))
        or (dtype.kind in "iu" and type(value) is int and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
    ):
        return from_numpy(np.array([value], dtype))[0]
    return pa.scalar(value, arrow)  # which also judges what has no place in the type
