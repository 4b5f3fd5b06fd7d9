"""From rows of JSON values to the tensors that the model takes. This is the hot path of small requests.

Types are checked for whole columns at once, by the set of their Python types; where one does not fit, the cells are
looked at one by one to say which.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel, Tensors
from onnx_pipeline.types import column_type_of_onnx

__all__ = ["tensors"]

_FLOATS = frozenset({"float16", "float", "double"})
_FIT: dict[str, frozenset[type]] = {
    "float": frozenset({float, int, bool, type(None)}),
    "int": frozenset({int, bool}),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}
_KINDS = {str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null", list: "a list",
          dict: "an object"}  # fmt: skip


def tensors(rows: Sequence[Sequence[Any]], served: ServedModel, *, accept_nan: bool) -> Tensors:
    """The input tensors of rows whose cells stand in the order of the model's columns; all rows have that length.

    null is NaN in a float. Raises Refusal, naming column and row, for a cell that does not fit.
    """
    try:
        # A double beyond float32's range becomes infinite, as in the pipeline; numpy would warn.
        with np.errstate(over="ignore"):
            if served.one_matrix is None:
                made = _by_column(rows, served)
            else:
                made = _matrix(rows, served, served.one_matrix)
    except (_MisfitError, OverflowError):
        raise _explained(rows, served) from None
    if served.unsafe and not accept_nan:
        _check_missing(rows, served)
    return made


class _MisfitError(Exception):
    pass


def _matrix(rows: Sequence[Sequence[Any]], served: ServedModel, name: str) -> Tensors:
    bound = served.inputs[0]
    _check(chain.from_iterable(rows), bound.tensor.dtype)
    dtype = column_type_of_onnx(bound.tensor.dtype, tensor=name).numpy
    return {name: np.array(rows, dtype=dtype).reshape(len(rows), len(bound.columns))}


def _by_column(rows: Sequence[Sequence[Any]], served: ServedModel) -> Tensors:
    columns: dict[str, Sequence[Any]] = dict(
        zip(served.columns, zip(*rows, strict=True) if rows else [()] * len(served.columns), strict=True)
    )
    feeds = {}
    for bound in served.inputs:
        dtype = column_type_of_onnx(bound.tensor.dtype, tensor=bound.tensor.name).numpy
        arrays = []
        for column in bound.columns:
            values = columns[column]
            kinds = set(map(type, values))
            if not kinds <= _FIT[_kind(bound.tensor.dtype)]:
                values = _whole(values, kinds, bound.tensor.dtype)
            arrays.append(np.array(values, dtype=dtype))
        if len(bound.tensor.shape) == 1:
            feeds[bound.tensor.name] = arrays[0]
        else:
            feeds[bound.tensor.name] = arrays[0].reshape(-1, 1) if len(arrays) == 1 else np.column_stack(arrays)
    return feeds


def _check(values: Iterable[Any], dtype: str) -> None:
    kinds = set(map(type, values))
    if not kinds <= _FIT[_kind(dtype)]:
        raise _MisfitError


def _whole(values: Sequence[Any], kinds: set[type], dtype: str) -> Sequence[Any]:
    """pandas writes integers beside a missing one as 3.0: whole numbers are integers."""
    if _kind(dtype) == "int" and kinds <= {int, bool, float} and all(float(value).is_integer() for value in values):
        return [int(value) for value in values]
    raise _MisfitError


def _kind(dtype: str) -> str:
    if dtype in _FLOATS:
        return "float"
    return dtype if dtype in _FIT else "int"


def _check_missing(rows: Sequence[Sequence[Any]], served: ServedModel) -> None:
    places = [(served.columns.index(name), name) for name in served.unsafe]
    for number, row in enumerate(rows):
        for place, name in places:
            if row[place] is None:
                raise Refusal(
                    400, "value_missing", f"row {number}, column {name!r} is null, and the model's trees were exported "
                    "without tracking of missing values: they would take another branch than in training. Send a value, "
                    "or accept that with the header `x-onnx-nulls: nan`", column=name, row=number,
                )  # fmt: skip


def _explained(rows: Sequence[Sequence[Any]], served: ServedModel) -> Refusal:
    for number, row in enumerate(rows):
        for (name, dtype), value in zip(served.dtypes.items(), row, strict=True):
            reason = _reason(value, dtype)
            if reason is not None:
                return Refusal(400, "value_misfit", f"row {number}, column {name!r} {reason}", column=name, row=number)
    raise AssertionError("rows were refused, and every cell fits")


def _reason(value: Any, dtype: str) -> str | None:
    kind = _kind(dtype)
    if type(value) in _FIT[kind] or (kind == "int" and type(value) is float and value.is_integer()):
        if kind != "int":
            return None
        bounds = np.iinfo(dtype)
        return None if bounds.min <= value <= bounds.max else f"is outside the range of {dtype}"
    if value is None:
        return f"is null, and {dtype} has no form for a missing value; send a value"
    if kind == "int" and type(value) is float:
        return f"has a fraction, and the model takes {dtype}"
    return f"is {_KINDS.get(type(value), 'something else')}, and the model takes {dtype}"
