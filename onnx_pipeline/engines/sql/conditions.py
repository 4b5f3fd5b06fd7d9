"""Conditions, and what is chosen by them, each with ONNX's rule for a missing value.

A comparison with one is false, and `differs` true, whatever SQL says: a dialect writes them so.
"""

from collections.abc import Callable, Sequence

from onnx_pipeline.engines.sql.algebra import constant, wider
from onnx_pipeline.engines.sql.expressions import Expression, Kind, Scalar, expression

__all__ = [
    "FALSE",
    "TRUE",
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "below",
    "beyond",
    "case",
    "differs",
    "element",
    "equals",
    "filled",
    "is_missing",
    "may_be_unknown",
    "negation",
    "or_fails",
]

TRUE = constant(True, Kind.BOOLEAN)
FALSE = constant(False, Kind.BOOLEAN)


def _compared(op: str, decide: Callable[[Scalar, Scalar], bool], a: Expression, b: Expression) -> Expression:
    if a.is_constant and b.is_constant:
        if a.value is None or b.value is None:
            return TRUE if op == "differs" else FALSE
        return constant(decide(a.value, b.value), Kind.BOOLEAN)
    return expression(op, Kind.BOOLEAN, (a, b))


def at_most(a: Expression, b: Expression) -> Expression:
    """`a <= b`; false where one is missing."""
    return _compared("at_most", lambda x, y: x <= y, a, b)  # type: ignore[operator]


def below(a: Expression, b: Expression) -> Expression:
    """`a < b`; false where one is missing."""
    return _compared("below", lambda x, y: x < y, a, b)  # type: ignore[operator]


def at_least(a: Expression, b: Expression) -> Expression:
    """`a >= b`; false where one is missing."""
    return _compared("at_least", lambda x, y: x >= y, a, b)  # type: ignore[operator]


def beyond(a: Expression, b: Expression) -> Expression:
    """`a > b`; false where one is missing."""
    return _compared("beyond", lambda x, y: x > y, a, b)  # type: ignore[operator]


def equals(a: Expression, b: Expression) -> Expression:
    """`a = b`, of texts code point by code point; false where one is missing."""
    return _compared("equals", lambda x, y: x == y, a, b)


def differs(a: Expression, b: Expression) -> Expression:
    """Not `equals`: true where one is missing."""
    return _compared("differs", lambda x, y: x != y, a, b)


def is_missing(a: Expression) -> Expression:
    """Whether a value is NULL, or NaN where the database stores it."""
    if not (a.missing or a.nan):
        return FALSE
    if a.is_constant:
        return TRUE
    return expression("is_missing", Kind.BOOLEAN, (a,))


def may_be_unknown(a: Expression) -> bool:
    """Whether SQL may answer a condition with NULL, where it is false: a comparison with a missing value."""
    if a.op in ("all_of", "any_of"):
        return any(may_be_unknown(arg) for arg in a.args)
    return a.op in ("equals", *_OPPOSITE) and any(arg.missing or arg.nan for arg in a.args)


_OPPOSITE = {"at_most": "beyond", "beyond": "at_most", "below": "at_least", "at_least": "below"}


def negation(a: Expression) -> Expression:
    """Not `a`: of a comparison with a missing value, true."""
    if a.is_constant:
        return FALSE if a.value else TRUE
    if a.op == "negation":
        return a.args[0]
    if a.op in ("equals", "differs"):
        return expression("differs" if a.op == "equals" else "equals", Kind.BOOLEAN, a.args)
    if a.op in _OPPOSITE:
        may_be_missing = any(arg.missing or arg.nan for arg in a.args)
        return expression(f"not_{a.op}" if may_be_missing else _OPPOSITE[a.op], Kind.BOOLEAN, a.args)
    if a.op.startswith("not_"):
        return expression(a.op.removeprefix("not_"), Kind.BOOLEAN, a.args)
    if a.op in ("all_of", "any_of"):
        parts = [negation(arg) for arg in a.args]
        return any_of(*parts) if a.op == "all_of" else all_of(*parts)
    return expression("negation", Kind.BOOLEAN, (a,))


def all_of(*conditions: Expression) -> Expression:
    """Whether every condition holds."""
    return _joined("all_of", TRUE, FALSE, conditions)


def any_of(*conditions: Expression) -> Expression:
    """Whether one of the conditions holds."""
    return _joined("any_of", FALSE, TRUE, conditions)


def _joined(op: str, neutral: Expression, decisive: Expression, conditions: Sequence[Expression]) -> Expression:
    flat: dict[Expression, None] = {}
    for condition in conditions:
        for part in condition.args if condition.op == op else (condition,):
            flat[part] = None
    flat.pop(neutral, None)
    if decisive in flat:
        return decisive
    if len(flat) < 2:
        return next(iter(flat), neutral)
    return expression(op, Kind.BOOLEAN, tuple(flat))


def case(whens: Sequence[tuple[Expression, Expression]], otherwise: Expression) -> Expression:
    """The value behind the first condition that holds.

    A `case` that stands last becomes part of this one, so that a chain of tests nests nothing.
    """
    arms: list[tuple[Expression, Expression]] = []
    for condition, value in whens:
        if condition is TRUE:
            otherwise = value
            break
        if condition is not FALSE:
            arms.append((condition, value))
    if otherwise.op == "case" and otherwise.kind in {value.kind for _, value in arms} | {otherwise.kind}:
        inner = otherwise.args
        arms += zip(inner[:-1:2], inner[1:-1:2], strict=True)
        otherwise = inner[-1]
    while arms and arms[-1][1] is otherwise:
        arms.pop()
    if not arms:
        return otherwise
    values = [value for _, value in arms] + [otherwise]
    kinds = {value.kind for value in values}
    kind = next(iter(kinds)) if len(kinds) == 1 else wider(*values)
    flat = [part for arm in arms for part in arm]
    return expression(
        "case",
        kind,
        (*flat, otherwise),
        missing=any(value.missing for value in values),
        infinite=any(value.infinite for value in values),
        nan=any(value.nan for value in values),
    )


def filled(a: Expression, value: Expression) -> Expression:
    """`a`, and `value` where it is missing."""
    missing = is_missing(a)
    if missing is FALSE:
        return a
    if missing is TRUE:
        return value
    return expression(
        "case",
        a.kind,
        (missing, value, a),
        missing=value.missing,
        infinite=a.infinite or value.infinite,
        nan=value.nan,
    )


def or_fails(a: Expression, holds: Expression, why: str) -> Expression:
    """`a` where a condition holds; the statement fails where not, and says why, with the value.

    Where ONNX Runtime refuses to score such a row. A missing value stays one.
    """
    refusal = expression("fail", a.kind, (a,), value=why, missing=a.missing)
    return case([(any_of(holds, is_missing(a)), a)], refusal)


def element(index: Expression, values: Sequence[Expression]) -> Expression:
    """The constant at a place, counted from 0: a look-up. A place that is not there gives no error and no value."""
    first = values[0]
    if all(value is first for value in values):
        return first
    if index.is_constant:
        return values[int(index.value)]  # type: ignore[arg-type]  # a whole number
    return expression(
        "element",
        first.kind,
        (index, *values),
        missing=any(value.missing for value in values),
        infinite=any(value.infinite for value in values),
    )
