"""Packing: Arrow columns into the tensors that the model takes. This is the hot path of scoring."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.arrow import from_numpy, mask, scalar, to_numpy
from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.base.hints import close_matches
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.fitting import check_type, fit, nan_as_null
from onnx_pipeline.models.null_policy import StandIn, formless_null, stand_ins

__all__ = ["Packer", "pack"]

Tensor = np.ndarray[Any, Any]

_BLOCK_BYTES = 256 * 1024
"""How much of a matrix is filled by all columns before going on.

Filling it column by column writes every cache line of the matrix once per column; a block that stays in the
second-level cache is written to memory once. Measured for 1M x 28 floats on 2 cores: blocks of 56 KiB 0.08 s,
224 KiB 0.04 s, 900 KiB 0.05 s.
"""
_SAMPLE_ROWS = 1024
_PASSED_BY = 5


def pack(batch: pa.RecordBatch, binding: Binding, nulls: Mapping[str, StandIn] | None = None) -> dict[str, Tensor]:
    """The model's input tensors, by name, from the columns of one batch.

    A column that is a whole input and has its dtype is not copied. NULL becomes NaN in floats, and what
    `nulls` says everywhere, as NaN does. Raises NullFeatureError for NULL elsewhere, SignatureError for a column
    that is absent or has a type that cannot feed its input, FeatureValueError for a value that its tensor cannot
    hold.
    """
    return Packer(binding, nulls)(batch)


class Packer:
    """Packs any number of batches of one schema."""

    def __init__(self, binding: Binding, nulls: Mapping[str, StandIn] | None = None) -> None:
        self._binding = binding
        self._stand_ins = stand_ins(binding, nulls)
        self._checked: pa.Schema | None = None

    def __call__(self, batch: pa.RecordBatch) -> dict[str, Tensor]:
        """The tensors of one batch."""
        self._look_at(batch)
        return {bound.tensor.name: self._tensor(batch, bound) for bound in self._binding.inputs}

    def fill(self, batch: pa.RecordBatch, columns: Tensor) -> None:
        """Puts the columns of all inputs, in order, into the rows of `[C, N]`: each is copied as it lies.

        For inputs of numbers, of one dtype. Raises as `pack` does.

        Columns that need no cast are copied by one call, so that threads meet less often over Python's lock: three of
        them packed 108 million rows of 28 floats a second on 16 cores, and 99 where each column was a call.
        """
        self._look_at(batch)
        nothing = np.broadcast_to(columns.dtype.type(0), columns.shape[1:])
        start = 0
        for bound in self._binding.inputs:
            place = columns[start : start + len(bound.columns)]
            values = [nothing if column is None else column for column in self._columns(batch, bound)]
            if place.flags.c_contiguous and all(column.dtype == columns.dtype for column in values):
                np.concatenate(values, out=place.reshape(-1))
            else:
                with _naming_what_overflows(batch, bound):
                    for row, column in zip(place, values, strict=True):
                        row[:] = column
            start += len(bound.columns)

    def _look_at(self, batch: pa.RecordBatch) -> None:
        if self._checked is None or not self._checked.equals(batch.schema):
            _check(batch.schema, self._binding)
            self._checked = batch.schema

    def _tensor(self, batch: pa.RecordBatch, bound: InputBinding) -> Tensor:
        kind = column_type_of_onnx(bound.tensor.dtype, tensor=bound.tensor.name)
        matrix = _by_arrow(batch, bound, kind.arrow, self._stand_ins)
        if matrix is not None:
            return matrix
        columns = list(self._columns(batch, bound))
        with _naming_what_overflows(batch, bound):
            return _filled(columns, bound, batch.num_rows, kind.numpy)

    def _columns(self, batch: pa.RecordBatch, bound: InputBinding) -> Iterator[Tensor | None]:
        kind = column_type_of_onnx(bound.tensor.dtype, tensor=bound.tensor.name)
        for place, name in enumerate(bound.columns):
            if place in bound.unread:
                yield None
            else:
                yield _values(batch.column(name), name, bound.tensor.dtype, kind.arrow, self._stand_ins.get(name))


def _by_arrow(
    batch: pa.RecordBatch, bound: InputBinding, target: pa.DataType, replaced: Collection[str]
) -> Tensor | None:
    """The matrix of columns that have the tensor's type already, by one call of Arrow's; None where some have another.

    CPU time for 61,440 x 28 floats: 1.7 ms, and by blocks 2.5; with NULLs in every fourth column 2.7 and 3.7 ms.
    Columns into the rows of `[28, N]`, and its transpose into the matrix, took 3.5. Columns that are not read are zeros
    here; where they are a fifth and more, it is faster by blocks, which pass them by.
    """
    floating = target in (pa.float32(), pa.float64())
    if len(bound.columns) == 1 or not (floating or pa.types.is_integer(target)):
        return None
    if bound.unread and len(bound.columns) <= _PASSED_BY * len(bound.unread):
        return None
    nothing = [from_numpy(np.zeros(batch.num_rows, target.to_pandas_dtype()))] if bound.unread else []
    columns = [nothing[0] if name is None else batch.column(name) for name in bound.fed]
    if any(column.type != target or (column.null_count and not floating) for column in columns):
        return None
    if any(name in replaced for name in bound.read):
        return None
    rows = pa.RecordBatch.from_arrays(columns, names=list(bound.columns))
    matrix: Tensor = rows.to_tensor(null_to_nan=floating, row_major=True).to_numpy()
    return matrix


@contextmanager
def _naming_what_overflows(batch: pa.RecordBatch, bound: InputBinding) -> Iterator[None]:
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            yield
    except FloatingPointError:
        for name in bound.read:
            fit(batch.column(name), name, bound.tensor.dtype)  # raises for the value that is out of range
        raise


def _filled(columns: list[Tensor | None], bound: InputBinding, rows: int, dtype: np.dtype[Any] | None) -> Tensor:
    """`None` stands for a column that moves nothing: zeros, which the operating system hands out for nothing."""
    if len(columns) == 1:
        values = _nothing((rows,), dtype) if columns[0] is None else np.ascontiguousarray(columns[0], dtype=dtype)
        return values if len(bound.tensor.shape) == 1 else values.reshape(rows, 1)
    shape = (rows, len(columns))
    matrix = _nothing(shape, dtype) if bound.unread else np.empty(shape, dtype)
    block = max(64, _BLOCK_BYTES // (len(columns) * matrix.itemsize))
    for start in range(0, rows, block):
        part = matrix[start : start + block]
        for index, column in enumerate(columns):
            if column is not None:
                part[:, index] = column[start : start + block]
    return matrix


def _nothing(shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> Tensor:
    return np.full(shape, "", object) if dtype == np.dtype(object) else np.zeros(shape, dtype)


def _check(schema: pa.Schema, binding: Binding) -> None:
    for bound in binding.inputs:
        for column in bound.read:
            if schema.get_field_index(column) < 0:
                state = "has more than once" if column in schema.names else "does not have"
                raise SignatureError(
                    f"input {bound.tensor} reads the column {column!r}, which the data {state}"
                    f"{close_matches(column, set(schema.names) - {column})} It has {', '.join(schema.names)}"
                )
            check_type(schema.field(column).type, column, bound.tensor.dtype)


def _values(array: pa.Array, column: str, dtype: str, target: pa.DataType, stand_in: StandIn | None) -> Tensor:
    """One column as a numpy array without NULLs, in a dtype from which assignment makes the tensor's."""
    if pa.types.is_dictionary(array.type) and (dtype != "string" or array.dictionary.null_count):
        array = array.dictionary_decode()  # a NULL among the dictionary's values is not in the null count
    if dtype == "string":
        return _text(array, column, stand_in)
    if array.type == target and stand_in is None and not array.null_count and not pa.types.is_boolean(target):
        return to_numpy(array)
    floating = pa.types.is_floating(target)
    # Floats become the tensor's where they are put, which saves a pass; that raises what is out of range.
    if array.null_count or not (floating and pa.types.is_floating(array.type)):
        array = fit(array, column, dtype)
    if floating and stand_in is not None:
        array = nan_as_null(array)
    if array.null_count:
        if stand_in is not None:
            array = array.fill_null(scalar(stand_in, array.type))
        elif not floating:
            raise formless_null(column, dtype, array.null_count)
    values: Tensor = to_numpy(array)
    if array.null_count:
        values = values.copy()
        values[mask(array)] = np.nan
    return values


def _text(array: pa.Array, column: str, stand_in: StandIn | None) -> Tensor:
    """Python strings; where values repeat, one object per distinct value, which takes a third of the time.

    Where they do not, that takes four times as long (both measured on 1M short strings), so a sample decides.
    """
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if array.null_count and stand_in is None:
        raise formless_null(column, "string", array.null_count)
    if not pa.types.is_dictionary(array.type):
        sample = array[:_SAMPLE_ROWS]
        if len(sample.unique()) > len(sample) // 2:
            distinct = array.fill_null(scalar(stand_in, array.type)) if array.null_count else array
            values: Tensor = distinct.to_numpy(zero_copy_only=False)
            return values
        array = array.dictionary_encode()
    words = np.array(array.dictionary.to_pylist(), dtype=object)
    indices = array.indices
    if array.null_count:
        words = np.append(words, np.array([stand_in], dtype=object))
        indices = indices.cast(pa.int64()).fill_null(len(words) - 1)
    taken: Tensor = words[to_numpy(indices)]
    return taken
