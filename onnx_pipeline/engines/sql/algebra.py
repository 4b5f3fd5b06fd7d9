"""The numbers that operators of ONNX are put together from: arithmetic on NULL is NULL, as on NaN it is NaN.

What is the same for every row is computed here, and identities that hold for every value are used.
"""

import ctypes
import math
from collections.abc import Callable, Sequence

import numpy as np

from onnx_pipeline.engines.sql.expressions import Expression, Kind, Scalar, expression, is_finite

__all__ = [
    "absent",
    "add",
    "as_double",
    "as_integer",
    "as_text",
    "column",
    "constant",
    "divide",
    "double",
    "function",
    "integer",
    "is_value",
    "multiply",
    "narrow",
    "negate",
    "power",
    "remainder",
    "row_count",
    "subtract",
    "text",
    "total",
    "values_of",
    "wider",
]


# Leaves


def column(
    name: str, kind: Kind, *, missing: bool = True, infinite: bool | None = None, nan: bool | None = None
) -> Expression:
    """A column of the source or of a step; `missing`: whether it may be NULL."""
    may_be = kind.is_float if infinite is None else infinite
    return expression("column", kind, value=name, missing=missing, infinite=may_be, nan=bool(nan))


def constant(value: Scalar, kind: Kind) -> Expression:
    """A value that is the same for every row, rounded to what its kind holds; NaN is the missing value."""
    if kind.is_float:
        number = float(value)  # type: ignore[arg-type]  # a bool or a number
        if math.isnan(number):
            return absent(kind)
        if kind is Kind.FLOAT:
            # As numpy's float32, without its warning of an overflow to infinity; a forest has ten thousands of these.
            number = ctypes.c_float(number).value
        return expression("constant", kind, value=number, infinite=not math.isfinite(number))
    if kind is Kind.INTEGER:
        return expression("constant", kind, value=int(value))  # type: ignore[arg-type]
    return expression("constant", kind, value=bool(value) if kind is Kind.BOOLEAN else str(value))


def absent(kind: Kind) -> Expression:
    """The missing value."""
    return expression("constant", kind, value=None, missing=True)


def double(value: float) -> Expression:
    """A constant of double precision."""
    return constant(value, Kind.DOUBLE)


def integer(value: int) -> Expression:
    """A whole constant."""
    return constant(value, Kind.INTEGER)


def text(value: str) -> Expression:
    """A constant text."""
    return constant(value, Kind.TEXT)


def row_count() -> Expression:
    """How many rows are scored: known while compiling only where it cancels out, as in `reshape(x, shape(x))`."""
    return expression("row_count", Kind.INTEGER)


# Arithmetic: of float32 alone it is rounded to float32 after each step, as ONNX Runtime does; else it is of double


def wider(*args: Expression) -> Kind:
    """The kind that a number computed from these has."""
    kinds = {arg.kind for arg in args}
    if Kind.DOUBLE in kinds:
        return Kind.DOUBLE
    return Kind.FLOAT if Kind.FLOAT in kinds else Kind.INTEGER


def _arithmetic(
    op: str, compute: Callable[[float, float], float], a: Expression, b: Expression, *, nan: bool
) -> Expression:
    kind = wider(a, b)
    if a.is_constant and b.is_constant:
        if a.value is None or b.value is None:
            return absent(kind)
        with np.errstate(all="ignore"):
            numpy = {Kind.FLOAT: np.float32, Kind.DOUBLE: np.float64, Kind.INTEGER: np.int64}[kind]
            return constant(compute(numpy(a.value), numpy(b.value)).item(), kind)  # type: ignore[attr-defined, arg-type]
    return expression(
        op,
        kind,
        (a, b),
        missing=a.missing or b.missing,
        infinite=kind.is_float,
        nan=kind.is_float and (nan or a.nan or b.nan),
    )


def add(a: Expression, b: Expression) -> Expression:
    """`a + b`."""
    return _arithmetic("add", lambda x, y: x + y, a, b, nan=a.infinite and b.infinite)


def subtract(a: Expression, b: Expression) -> Expression:
    """`a - b`; `x - 0` is `x`, and `0 - x` is not."""
    if b.is_constant and b.value == 0 and wider(a, b) is a.kind:
        return a
    return _arithmetic("subtract", lambda x, y: x - y, a, b, nan=a.infinite and b.infinite)


def multiply(a: Expression, b: Expression) -> Expression:
    """`a * b`. A zero makes nothing of what may be missing or infinite: 0 × NaN is NaN."""
    for one, other in ((a, b), (b, a)):
        if one.is_constant and wider(a, b) is other.kind:
            if one.value == 1:
                return other
            if one.value == 0 and not (other.missing or other.infinite or other.nan):
                return constant(0, other.kind)
    return _arithmetic("multiply", lambda x, y: x * y, a, b, nan=_may_be_zero_times_infinity(a, b))


def _may_be_zero_times_infinity(a: Expression, b: Expression) -> bool:
    return any(
        one.infinite and not (other.is_constant and other.value != 0 and is_finite(other.value))
        for one, other in ((a, b), (b, a))
    )


def divide(a: Expression, b: Expression) -> Expression:
    """`a / b`; of integers, cut towards zero."""
    if b.is_constant and b.value == 1 and wider(a, b) is a.kind:
        return a
    safe = b.is_constant and b.value not in (0, None) and is_finite(b.value)
    if wider(a, b) is Kind.INTEGER:
        return _arithmetic("divide", lambda x, y: int(np.fix(x / y)), a, b, nan=False)
    return _arithmetic("divide", lambda x, y: x / y, a, b, nan=not safe)


def remainder(a: Expression, b: Expression) -> Expression:
    """What `a / b`, cut towards zero, leaves: of the sign of `a`, as `fmod` in C."""
    return _arithmetic("remainder", np.fmod, a, b, nan=True)


def power(base: Expression, exponent: Expression) -> Expression:
    """`base` to the power of `exponent`, computed in double precision."""
    return _arithmetic("power", np.power, as_double(base), as_double(exponent), nan=True)


def negate(a: Expression) -> Expression:
    """`-a`."""
    if a.is_constant:
        return a if a.value is None else constant(-a.value, a.kind)  # type: ignore[operator]
    return expression("negate", a.kind, (a,), missing=a.missing, infinite=a.infinite, nan=a.nan)


def total(terms: Sequence[Expression], kind: Kind = Kind.DOUBLE) -> Expression:
    """The sum of many terms, accumulated in double precision: a sum of float32 has no order that could be kept.

    Of terms that need not be exact in each step, as a product of matrices or the votes of a forest.
    """
    constants = [float(term.value) for term in terms if term.is_constant and term.value is not None]
    if any(term.is_constant and term.value is None for term in terms):
        return absent(kind)
    moving = [term for term in terms if not term.is_constant]
    fixed = math.fsum(constants) if all(map(math.isfinite, constants)) else sum(constants)
    if not moving:
        return constant(fixed, kind)
    if fixed != 0:
        moving.append(constant(fixed, kind))
    if kind is Kind.DOUBLE:
        moving = [as_double(term) for term in moving]
    if len(moving) == 1:
        return moving[0]
    return expression(
        "total",
        kind,
        moving,
        missing=any(term.missing for term in moving),
        infinite=True,
        nan=any(term.nan for term in moving) or sum(term.infinite for term in moving) > 1,
    )


# Functions of one value


_BOUNDED = frozenset({"sign", "tanh"})
_MAY_FAIL = frozenset({"log", "sqrt"})
_NUMPY: dict[str, Callable[[np.float64], np.float64]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "round_even": np.rint,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
_EXACT = frozenset({"abs", "ceil", "floor", "round_even", "sign"})
"""Of float32 they are float32; the others are computed in double precision."""


def function(name: str, a: Expression) -> Expression:
    """One of abs, ceil, exp, floor, log, round_even (halves to even), sign, sqrt, tanh."""
    kind = a.kind if name in _EXACT else Kind.DOUBLE
    if a.is_constant:
        if a.value is None:
            return absent(kind)
        with np.errstate(all="ignore"):
            return constant(_NUMPY[name](np.float64(a.value)).item(), kind)
    return expression(
        name,
        kind,
        (a,),
        missing=a.missing,
        infinite=kind.is_float and name not in _BOUNDED,
        nan=a.nan or name in _MAY_FAIL,
    )


# Kinds


def as_double(a: Expression) -> Expression:
    """The number in double precision."""
    return _cast(a, Kind.DOUBLE)


def narrow(a: Expression) -> Expression:
    """The number rounded to float32: what a comparison sees that ONNX Runtime makes in float32."""
    return _cast(a, Kind.FLOAT)


def as_integer(a: Expression) -> Expression:
    """A whole number: a float is cut towards zero, a boolean is 0 or 1."""
    return _cast(a, Kind.INTEGER)


def as_text(a: Expression) -> Expression:
    """A whole number as text."""
    return _cast(a, Kind.TEXT)


def is_value(case: Expression, place: int) -> bool:
    """Whether a `case` chooses from the argument at that place; the others are conditions."""
    return place % 2 == 1 or place == len(case.args) - 1


def values_of(case: Expression) -> list[Expression]:
    """What a `case` chooses from."""
    return [*case.args[1:-1:2], case.args[-1]]


def _is_of_constants(a: Expression) -> bool:
    return a.op == "case" and all(value.is_constant or _is_of_constants(value) for value in values_of(a))


def _cast(a: Expression, kind: Kind) -> Expression:
    if a.kind is kind:
        return a
    if a.is_constant:
        return absent(kind) if a.value is None else constant(a.value, kind)
    if a.op == "cast" and a.kind is Kind.DOUBLE and a.args[0].kind is kind:
        return a.args[0]
    if kind is Kind.DOUBLE and _is_of_constants(a):
        # The leaves of a tree: wide literals instead of a cast around all of it.
        arms = [_cast(arg, kind) if is_value(a, place) else arg for place, arg in enumerate(a.args)]
        return expression("case", kind, arms, missing=a.missing, infinite=a.infinite, nan=a.nan)
    return expression(
        "cast",
        kind,
        (a,),
        missing=a.missing or _has_no_form(a, kind),
        infinite=kind.is_float and a.infinite,
        nan=kind.is_float and a.nan,
    )


def _has_no_form(a: Expression, kind: Kind) -> bool:
    """Whether a value may be beyond what the kind holds, where it becomes missing."""
    if kind is Kind.INTEGER:
        return a.infinite or a.nan or a.kind is Kind.TEXT
    return (kind is Kind.FLOAT and a.infinite and a.kind is Kind.DOUBLE) or (kind.is_float and a.kind is Kind.TEXT)
