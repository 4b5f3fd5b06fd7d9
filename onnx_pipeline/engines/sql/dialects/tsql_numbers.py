"""T-SQL ends a statement where others give NaN or infinity: what a number is computed from is guarded here.

A NaN is NULL. Infinity is a number that no float32 reaches, and that is far enough from what a FLOAT holds for one more
product. These are expressions, and not text, so that what a guard looks at twice becomes a step and is computed once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.algebra import absent, as_double, constant, double, narrow
from onnx_pipeline.engines.sql.conditions import all_of, any_of, below, beyond, case, differs, equals, negation
from onnx_pipeline.engines.sql.expressions import Expression, Kind, expression, in_order

__all__ = ["GuardedNumbers"]

INFINITY = 1e150
"""Stands for infinity. https://learn.microsoft.com/sql/t-sql/data-types/float-and-real-transact-sql: it has none."""
_LARGEST = 307.0
"""Decimal digits before the point that a FLOAT surely holds."""
_LEAST_REAL = 2.0**-126
_HIGHEST_EXPONENT = math.log(INFINITY)
_LOWEST_EXPONENT = -600.0
"""Below, the result is as good as zero, and a product with it would be nearer to zero than a FLOAT's normal numbers."""
_DIGITS = MappingProxyType({Kind.FLOAT: 38.6, Kind.DOUBLE: 308.3, Kind.INTEGER: 19.0})


_TOP, _BOTTOM = (expression("constant", Kind.DOUBLE, value=value, infinite=True) for value in (INFINITY, -INFINITY))


class GuardedNumbers:
    """Expressions with guards around what may fail. One object for the outputs of one statement."""

    def __init__(self) -> None:
        self._digits: dict[Expression, float] = {}
        self._rules: Mapping[str, Callable[[Expression, Sequence[Expression]], Expression]] = {
            "add": self._plain,
            "cast": _cast,
            "constant": lambda each, _: _finite(each),
            "subtract": self._plain,
            "multiply": self._plain,
            "divide": self._divided,
            "exp": lambda _, args: self._exp(args[0]),
            "log": lambda _, args: self._log(args[0]),
            "power": lambda _, args: self._power(*args),
            "remainder": self._remainder,
            "round_even": lambda _, args: self._round_even(args[0]),
            "sqrt": lambda _, args: _sqrt(args[0]),
            "tanh": lambda _, args: self._tanh(args[0]),
            "total": self._total,
        }

    def guarded(self, outputs: Sequence[Expression]) -> dict[Expression, Expression]:
        """Every expression below the outputs, and they themselves, to what stands for it."""
        made: dict[Expression, Expression] = {}
        for each in in_order(outputs):
            args = [made[arg] for arg in each.args]
            rule = self._rules.get(each.op, _rebuilt)
            made[each] = rule(each, args)
        return made

    def output(self, each: Expression) -> Expression:
        """What a prediction's column gets: infinity has no form there."""
        if each.kind is not Kind.DOUBLE or self._size(each) < math.log10(INFINITY):
            return each
        ends = [beyond(each, double(INFINITY * 0.999)), below(each, double(-INFINITY * 0.999))]
        return case([(any_of(*ends), absent(Kind.DOUBLE))], each)

    # How large a number may be

    def _size(self, root: Expression) -> float:
        """Decimal digits before the point, at most."""
        for each in in_order([root], ends_at=self._digits.__contains__):
            if each not in self._digits:
                self._digits[each] = self._size_of(each, [self._digits.get(arg, 0.0) for arg in each.args])
        return self._digits[root]

    def _size_of(self, each: Expression, args: Sequence[float]) -> float:
        widest = _DIGITS.get(each.kind, 0.0)
        if each.is_constant:
            value = each.value
            return math.log10(max(abs(value), 1.0)) if isinstance(value, (int, float)) else 0.0
        if each.op == "multiply":
            return min(sum(args), widest)
        if each.op in ("add", "subtract", "total"):
            return min(max(args) + math.log10(len(args)), widest)
        if each.op in ("negate", "abs", "floor", "ceil", "cast"):
            return min(args[0], widest) if each.args[0].kind is not Kind.TEXT else widest
        if each.op == "divide" and (_is_at_least_one(each.args[1]) or each.args[1].is_constant):
            divisor = each.args[1].value
            smaller = math.log10(abs(divisor)) if isinstance(divisor, float) and divisor else 0.0
            return min(args[0] - smaller, widest)
        if each.op == "case":
            return max([*args[1:-1:2], args[-1]])
        known = {"exp": math.log10(INFINITY), "log": 3.0, "sign": 0.0, "sqrt": 155.0, "power": math.log10(INFINITY)}
        return known.get(each.op, widest)

    def _within(self, each: Expression, digits: float) -> Expression:
        """A number that is cut where it is larger, as infinity is."""
        if self._size(each) <= digits:
            return each
        end = double(10.0**digits)
        least = double(-(10.0**digits))
        return case([(beyond(each, end), end), (below(each, least), least)], as_double(each))

    # Arithmetic

    def _plain(self, each: Expression, args: Sequence[Expression]) -> Expression:
        if each.kind is Kind.INTEGER:
            return _rebuilt(each, args)
        a, b = (as_double(arg) for arg in args)
        made = {"add": self._add, "subtract": self._subtract, "multiply": self._multiply}[each.op](a, b)
        # In double precision and then rounded, it is what float32 arithmetic gives to the last bit.
        return narrow(made) if each.kind is Kind.FLOAT else made

    def _add(self, a: Expression, b: Expression) -> Expression:
        return algebra.add(*(self._within(side, _LARGEST - 1) for side in (a, b)))

    def _subtract(self, a: Expression, b: Expression) -> Expression:
        return algebra.subtract(*(self._within(side, _LARGEST - 1) for side in (a, b)))

    def _multiply(self, a: Expression, b: Expression) -> Expression:
        if self._size(a) + self._size(b) > _LARGEST:
            a, b = (self._within(side, math.log10(INFINITY)) for side in (a, b))
        return algebra.multiply(a, b)

    def _total(self, each: Expression, args: Sequence[Expression]) -> Expression:
        if each.kind is Kind.INTEGER:
            return _rebuilt(each, args)
        room = _LARGEST - math.log10(len(args))
        made = algebra.total([self._within(as_double(arg), room) for arg in args])
        return narrow(made) if each.kind is Kind.FLOAT else made

    def _divided(self, each: Expression, args: Sequence[Expression]) -> Expression:
        if each.kind is Kind.INTEGER:
            return case([(equals(args[1], constant(0, Kind.INTEGER)), absent(Kind.INTEGER))], _rebuilt(each, args))
        made = self._divide(*(as_double(arg) for arg in args))
        return narrow(made) if each.kind is Kind.FLOAT else made

    def _divide(self, a: Expression, b: Expression) -> Expression:
        if b.is_constant and b.value:
            # By less than 1 it grows.
            return algebra.divide(self._within(a, _LARGEST - 1 + min(0.0, math.log10(abs(float(b.value))))), b)
        if _is_at_least_one(b):
            return algebra.divide(a, b)
        if _is_positive(b):
            return algebra.divide(self._within(a, math.log10(INFINITY)), b)
        a, b = self._within(a, math.log10(INFINITY)), as_double(b)
        by_zero = case([(beyond(a, double(0)), _TOP), (below(a, double(0)), _BOTTOM)], _NAN)
        # A divisor so small that the quotient would not fit counts as zero of its sign.
        tiny = double(1e-150)
        end = case([(below(b, double(0)), algebra.negate(by_zero))], by_zero)
        near = below(algebra.function("abs", b), tiny)
        return case([(near, end)], algebra.divide(a, b))

    def _remainder(self, each: Expression, args: Sequence[Expression]) -> Expression:
        a, b = args
        nought = constant(0, b.kind)
        if each.kind is Kind.INTEGER:
            quotient = expression("divide", Kind.INTEGER, (a, b), missing=a.missing or b.missing)
            rest = algebra.subtract(a, algebra.multiply(quotient, b))
            return case([(equals(b, nought), absent(Kind.INTEGER))], rest)
        a, b = as_double(a), as_double(b)
        quotient = self._divide(a, b)
        low, high = (algebra.function(name, quotient) for name in ("floor", "ceil"))
        whole = case([(below(quotient, double(0)), high)], low)
        rest = case([(equals(b, double(0)), _NAN)], self._subtract(a, self._multiply(whole, b)))
        return narrow(rest) if each.kind is Kind.FLOAT else rest

    # Functions

    def _exp(self, cell: Expression) -> Expression:
        highest, lowest = double(_HIGHEST_EXPONENT), double(_LOWEST_EXPONENT)
        wide = as_double(cell)
        return algebra.function("exp", case([(beyond(wide, highest), highest), (below(wide, lowest), lowest)], wide))

    def _log(self, cell: Expression) -> Expression:
        nought = constant(0, cell.kind)
        log = algebra.function("log", cell)
        return case([(beyond(cell, nought), log), (equals(cell, nought), _BOTTOM)], _NAN)

    def _tanh(self, cell: Expression) -> Expression:
        wide = as_double(cell)
        part = self._exp(algebra.multiply(double(-2), algebra.function("abs", self._within(wide, 300))))
        size = algebra.divide(algebra.subtract(double(1), part), algebra.add(double(1), part))
        return case([(below(wide, double(0)), algebra.negate(size))], size)

    def _round_even(self, cell: Expression) -> Expression:
        down = as_double(algebra.function("floor", cell))
        rest = algebra.subtract(as_double(cell), down)
        up = algebra.add(down, double(1))
        half = algebra.divide(down, double(2))
        even = equals(half, algebra.function("floor", half))
        made = case([(below(rest, double(0.5)), down), (beyond(rest, double(0.5)), up), (even, down)], up)
        return narrow(made) if cell.kind is Kind.FLOAT else made

    def _power(self, base: Expression, exponent: Expression) -> Expression:
        nought, one = double(0), double(1)
        size = algebra.function("abs", base)
        room = self._multiply(exponent, self._log(size))
        whole = equals(exponent, algebra.function("floor", exponent))
        half = algebra.divide(exponent, double(2))
        odd = differs(half, algebra.function("floor", half))
        negative = below(base, nought)
        top = case([(all_of(negative, odd), _BOTTOM)], _TOP)
        arms = [
            (any_of(equals(exponent, nought), equals(base, one)), one),
            (equals(base, nought), case([(below(exponent, nought), _TOP), (beyond(exponent, nought), nought)], _NAN)),
            (all_of(negative, negation(whole)), _NAN),
            (beyond(room, double(_HIGHEST_EXPONENT)), top),
            (below(room, double(_LOWEST_EXPONENT)), nought),
        ]
        missing = base.missing or exponent.missing
        return case(arms, expression("power", Kind.DOUBLE, (base, exponent), missing=missing, infinite=True))


def _finite(each: Expression) -> Expression:
    value = each.value
    if isinstance(value, float) and math.isinf(value):
        return _TOP if value > 0 else _BOTTOM
    return each


_NAN = absent(Kind.DOUBLE)


def _sqrt(cell: Expression) -> Expression:
    nought = constant(0, cell.kind)
    return algebra.function("sqrt", case([(below(cell, nought), absent(cell.kind))], cell))


def _is_positive(each: Expression, depth: int = 4) -> bool:
    """Whether it is surely greater than zero, as a sum of exponentials is."""
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value > 0
    if each.op == "exp":
        return True
    return bool(depth) and each.op in ("add", "total") and all(_is_positive(arg, depth - 1) for arg in each.args)


def _is_at_least_one(each: Expression) -> bool:
    """Whether it is surely no less than 1, as `1 + |x|` is."""
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value >= 1
    return each.op == "add" and any(
        _is_at_least_one(one) and _is_not_negative(other) for one, other in (each.args, each.args[::-1])
    )


def _is_not_negative(each: Expression) -> bool:
    if each.is_constant:
        return isinstance(each.value, (int, float)) and each.value >= 0
    if each.op in ("multiply", "cast"):
        return all(map(_is_not_negative, each.args))
    return each.op in ("abs", "exp", "sqrt")


def _cast(each: Expression, args: Sequence[Expression]) -> Expression:
    """A double nearer to zero than a REAL's normal numbers is zero, and not one that a cast may refuse."""
    (arg,) = args
    if each.kind is Kind.FLOAT and arg.kind is Kind.DOUBLE and _may_be_tiny(arg):
        arg = case([(below(algebra.function("abs", arg), double(_LEAST_REAL)), double(0))], arg)
    return _rebuilt(each, [arg])


def _may_be_tiny(each: Expression) -> bool:
    """Of a probability, say, and not of a sum of votes."""
    if each.op == "case":
        return any(_may_be_tiny(value) for value in algebra.values_of(each))
    return each.op in ("exp", "divide", "multiply", "power")


def _rebuilt(each: Expression, args: Sequence[Expression]) -> Expression:
    """The same operation on guarded numbers, which may be missing where they would be NaN."""
    if all(new is old for new, old in zip(args, each.args, strict=True)) and not each.nan:
        return each
    values = [*args[1:-1:2], args[-1]] if each.op == "case" else args
    missing = each.kind is not Kind.BOOLEAN and (each.missing or each.nan or any(value.missing for value in values))
    return expression(each.op, each.kind, args, value=each.value, missing=missing, infinite=each.infinite)
