"""What may fill what: the one table of rules by which a value becomes an element of a tensor, on every way in.

The pipeline, `OnnxModel.score`, the scoring service, the remote engine and the extension for SQL Server go by it; the
extension's C++ gets it as a header (`extension/column_types.py`). A number is read as the nearest double, and that is
rounded to the model's float: `DECIMAL '1.15'`, the JSON number `1.15` and the double 1.15 are one value.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = [
    "FILLS",
    "MISSING",
    "Family",
    "Rule",
    "bounds",
    "family_of_onnx",
    "is_float",
    "largest",
    "misfit",
    "rounds_up_from",
    "type_advice",
]


class Family(Enum):
    """Kinds of columns and tensors that follow the same rules."""

    BOOL = "booleans"
    INTEGER = "integers"
    FLOAT = "floats"
    DECIMAL = "decimals"
    TEXT = "text"


class Rule(Enum):
    """What becomes of a value."""

    SAME = "stays what it is"
    IN_RANGE = "stays what it is; out of range is an error"
    WHOLE = "stays what it is; a fraction, infinity or out of range is an error"
    NEAREST = "rounded to the nearest; beyond the range is an error, and infinity stays infinity"


FILLS: Mapping[tuple[Family, Family], Rule] = MappingProxyType({
    (Family.BOOL, Family.BOOL): Rule.SAME,
    (Family.BOOL, Family.INTEGER): Rule.SAME,
    (Family.BOOL, Family.FLOAT): Rule.SAME,
    (Family.INTEGER, Family.INTEGER): Rule.IN_RANGE,
    (Family.INTEGER, Family.FLOAT): Rule.NEAREST,
    (Family.FLOAT, Family.INTEGER): Rule.WHOLE,
    (Family.FLOAT, Family.FLOAT): Rule.NEAREST,
    (Family.DECIMAL, Family.INTEGER): Rule.WHOLE,
    (Family.DECIMAL, Family.FLOAT): Rule.NEAREST,
    (Family.TEXT, Family.TEXT): Rule.SAME,
})  # fmt: skip
"""By column and tensor; what is not here does not go together: text is no number, a number no boolean, a date neither.

Whole floats fill integers because pandas and JSON write integers beside a missing one as 3.0.
"""

MISSING = "NULL or NaN"
"""What messages call a missing value: NaN in a column of floats is one, wherever it comes from."""

_ONNX_FAMILIES = {
    "bool": Family.BOOL,
    "string": Family.TEXT,
    **dict.fromkeys(("float16", "float", "double"), Family.FLOAT),
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), Family.INTEGER),
}
_FLOATS: Mapping[str, "np.dtype[Any]"] = {
    "float16": np.dtype("float16"),
    "float": np.dtype("float32"),
    "double": np.dtype("float64"),
}
_CALLED = {"float16": "float16", "float": "float32", "double": "float64"}


def family_of_onnx(dtype: str) -> Family:
    """The family of ONNX Runtime's dtype. Raises KeyError for one that no column fills."""
    return _ONNX_FAMILIES[dtype]


def is_float(dtype: str) -> bool:
    """Whether ONNX Runtime's dtype has a form for NaN."""
    return _ONNX_FAMILIES.get(dtype) is Family.FLOAT


def bounds(dtype: str) -> tuple[int, int]:
    """The least and the greatest of an integer dtype."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def largest(dtype: str) -> float:
    """The greatest finite value of a float dtype."""
    return float(np.finfo(_FLOATS[dtype]).max)


def rounds_up_from(dtype: str) -> float | None:
    """The double from which on one is rounded to infinity, half a step beyond the largest; None of double itself."""
    return {"float": 3.4028235677973366e38, "float16": 65520.0}.get(dtype)


def misfit(value: float | Decimal, dtype: str) -> str | None:
    """Why a number has no form in a dtype of numbers, as the end of a sentence; None where it has, or is NaN.

    Its column may fill the dtype: that `FILLS` decides.
    """
    if isinstance(value, float | np.floating | Decimal) and math.isnan(value):
        return None
    if family_of_onnx(dtype) is Family.INTEGER:
        least, greatest = bounds(dtype)
        if not math.isinf(value) and value != math.floor(value):
            return f"is {value}, which has a fraction, and the model takes {dtype}"
        return None if least <= value <= greatest else f"is {value}, and {dtype} holds {least} to {greatest}"
    if math.isinf(value) or math.isfinite(_rounded(value, dtype)):
        return None
    return f"is {value}, out of the range of {_CALLED[dtype]}, which ends at {np.finfo(_FLOATS[dtype]).max}"


def _rounded(value: Any, dtype: str) -> float:
    with np.errstate(over="ignore"):
        try:
            return float(_FLOATS[dtype].type(float(value)))
        except OverflowError:  # an int beyond a double
            return math.inf


def type_advice(source: Family | None, dtype: str) -> str:
    """What to do where a column of that family (None: dates, lists and the like) cannot fill a tensor."""
    if dtype == "string":
        return "cast the column to text in the source query, spelled as in training"
    if dtype == "bool" and source is not Family.TEXT:
        return "write the condition in the source query, e.g. `x <> 0`"
    return "cast the column to a number in the source query, in the unit of training"
