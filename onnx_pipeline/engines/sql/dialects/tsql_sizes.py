"""How large a number of a compiled graph may be, reckoned beforehand: what cannot overflow needs no guard."""

import math
from collections.abc import Sequence
from types import MappingProxyType

from onnx_pipeline.base.rules import largest
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order

__all__ = ["DIGITS", "INFINITY", "Sizes", "is_at_least_one", "is_positive"]

INFINITY = 1e150
"""Stands for infinity. https://learn.microsoft.com/sql/t-sql/data-types/float-and-real-transact-sql: it has none."""
DIGITS = MappingProxyType({Kind.FLOAT: math.log10(largest("float")), Kind.DOUBLE: 308.3, Kind.INTEGER: 19.0})
"""What a kind holds, in decimal digits before the point."""


class Sizes:
    """Of the expressions of one statement, each reckoned once."""

    def __init__(self) -> None:
        self._digits: dict[Expression, float] = {}

    def digits(self, root: Expression) -> float:
        """Decimal digits before the point, at most."""
        for each in in_order([root], ends_at=self._digits.__contains__):
            if each not in self._digits:
                self._digits[each] = self._size_of(each, [self._digits.get(arg, 0.0) for arg in each.args])
        return self._digits[root]

    def _size_of(self, each: Expression, args: Sequence[float]) -> float:
        widest = DIGITS.get(each.kind, 0.0)
        if each.is_constant:
            value = each.value
            return math.log10(max(abs(value), 1.0)) if isinstance(value, (int, float)) else 0.0
        if each.op == "multiply":
            return min(sum(args), widest)
        if each.op in ("add", "subtract", "total"):
            return min(max(args) + math.log10(len(args)), widest)
        if each.op in ("negate", "abs", "floor", "ceil", "cast"):
            return min(args[0], widest) if each.args[0].kind is not Kind.TEXT else widest
        if each.op == "divide" and (is_at_least_one(each.args[1]) or each.args[1].is_constant):
            divisor = each.args[1].value
            smaller = math.log10(abs(divisor)) if isinstance(divisor, float) and divisor else 0.0
            return min(args[0] - smaller, widest)
        if each.op == "case":
            return max([*args[1:-1:2], args[-1]])
        known = {"exp": math.log10(INFINITY), "log": 3.0, "sign": 0.0, "sqrt": 155.0, "power": math.log10(INFINITY)}
        return known.get(each.op, widest)


def is_positive(each: Expression, depth: int = 4) -> bool:
    """Whether it is surely greater than zero, as a sum of exponentials is."""
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value > 0
    if each.op == "exp":
        return True
    return bool(depth) and each.op in ("add", "total") and all(is_positive(arg, depth - 1) for arg in each.args)


def is_at_least_one(each: Expression) -> bool:
    """Whether it is surely no less than 1, as `1 + |x|` is."""
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value >= 1
    return each.op == "add" and any(
        is_at_least_one(one) and _is_not_negative(other) for one, other in (each.args, each.args[::-1])
    )


def _is_not_negative(each: Expression) -> bool:
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value >= 0
    if each.op in ("multiply", "cast"):
        return all(map(_is_not_negative, each.args))
    return each.op in ("abs", "exp", "sqrt")
