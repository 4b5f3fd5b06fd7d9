"""From a list of JSON values to an array of a model's dtype. This is the hot path of small requests.

Types are checked for all values at once, by the set of their Python types; where one does not fit, they are looked at
one by one to say which.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_pipeline.base.rules import misfit
from onnx_pipeline.base.types import column_type_of_onnx

__all__ = ["MisfitError", "array_of", "reason_against"]

_FLOATS = frozenset({"float16", "float", "double"})
_FIT: dict[str, frozenset[type]] = {
    "float": frozenset({float, int, bool, type(None)}),
    "int": frozenset({int, bool}),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}
_WHOLE = frozenset({int, bool, float})
_CALLED = {
    str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null", list: "a list",
    dict: "an object",
}  # fmt: skip


class MisfitError(Exception):
    """Some value is not of the dtype."""


def array_of(values: Sequence[Any], dtype: str, *, tensor: str) -> np.ndarray[Any, Any]:
    """`[N]` values → `[N]` of ONNX Runtime's `dtype`; null is NaN in a float.

    Raises MisfitError; what is beyond a float's range is for the caller to hear of, by numpy's `errstate`.
    """
    kinds = set(map(type, values))
    if not kinds <= _FIT[_kind(dtype)]:
        # pandas writes integers beside a missing one as 3.0: whole numbers are integers.
        if _kind(dtype) != "int" or not kinds <= _WHOLE or not all(float(value).is_integer() for value in values):
            raise MisfitError
        values = [int(value) for value in values]
    try:
        return np.array(values, dtype=column_type_of_onnx(dtype, tensor=tensor).numpy)
    except OverflowError as error:
        raise MisfitError from error


def reason_against(value: Any, dtype: str) -> str | None:
    """Why a value is not of the dtype, as the end of a sentence that begins with its place; None where it is."""
    kind = _kind(dtype)
    if type(value) in {int, float} and kind in {"float", "int"}:
        return misfit(value, dtype)
    if type(value) in _FIT[kind]:
        return None
    if value is None:
        return f"is null, and {dtype} has no form for a missing value; send a value"
    return f"is {_CALLED.get(type(value), 'something else')}, and the model takes {dtype}"


def _kind(dtype: str) -> str:
    if dtype in _FLOATS:
        return "float"
    return dtype if dtype in _FIT else "int"
