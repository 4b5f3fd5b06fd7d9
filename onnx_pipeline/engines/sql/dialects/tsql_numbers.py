"""T-SQL ends a statement where others give NaN or infinity: what a number is computed from is guarded here.

A NaN is NULL. Infinity is a number that no float32 reaches, and that is far enough from what a FLOAT holds for one more
product. These are expressions, and not text, so that what a guard looks at twice becomes a step and is computed once.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.algebra import absent, as_double, constant, double, narrow
from onnx_pipeline.engines.sql.conditions import all_of, any_of, below, beyond, case, differs, equals, negation
from onnx_pipeline.engines.sql.dialects.tsql_sizes import DIGITS, INFINITY, Sizes, is_at_least_one, is_positive
from onnx_pipeline.engines.sql.expressions import Expression, Kind, expression, in_order
from onnx_pipeline.engines.sql.passes.overflow import infinite_beyond_float32

__all__ = ["GuardedNumbers"]

_LARGEST = 307.0
"""Decimal digits before the point that a FLOAT surely holds."""
_LEAST_REAL = 2.0**-126
_HIGHEST_EXPONENT = math.log(INFINITY)
_LOWEST_EXPONENT = -600.0
"""Below, the result is as good as zero, and a product with it would be nearer to zero than a FLOAT's normal numbers."""
_UNFELT = 31.0
"""Digits of what a float32 may be beside the largest one without their sum being rounded away from it: 2**103."""
_ENDS = 0.999 * INFINITY
"""Beyond it a number stands for infinity, whatever finite one was added to it."""
_TOP, _BOTTOM = (expression("constant", Kind.DOUBLE, value=value, infinite=True) for value in (INFINITY, -INFINITY))


class GuardedNumbers:
    """Expressions with guards around what may fail. One object for the outputs of one statement."""

    def __init__(self) -> None:
        self._sizes = Sizes()
        self._endless: dict[Expression, bool] = {}
        self._bare: dict[Expression, Expression] = {}
        """To what may stand for infinity, what is missing there instead."""
        self._rules: Mapping[str, Callable[[Expression, Sequence[Expression]], Expression]] = {
            "add": self._plain,
            "cast": self._cast,
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
            self._learn(made[each])
        return made

    def output(self, each: Expression, kind: Kind) -> Expression:
        """What a prediction's column of that kind gets: infinity has no form there."""
        if each in self._bare:
            each = self._bare[each]
        if kind is Kind.FLOAT and each.kind is Kind.DOUBLE:
            # Written at once, and not into the arms of a `case`: as a constant, what stands for infinity has no form.
            return expression("cast", Kind.FLOAT, (each,), missing=True)
        if each.kind is not Kind.DOUBLE or self._sizes.digits(each) < math.log10(INFINITY):
            return each
        return case([(_is_infinite(each), absent(Kind.DOUBLE))], each)

    # What stands for infinity

    def _learn(self, each: Expression) -> None:
        """Which expression is missing where this one, made of one that may stand for infinity, may do so, too."""
        if each.op not in ("case", "multiply", "negate") or each in self._bare:
            return
        args = [
            arg if each.op == "case" and not algebra.is_value(each, place) else self._bare.get(arg, arg)
            for place, arg in enumerate(each.args)
        ]
        if any(new is not old for new, old in zip(args, each.args, strict=True)):
            self._bare[each] = _rebuilt(each, args)

    def _may_be_infinite(self, root: Expression) -> bool:
        for each in in_order([root], ends_at=self._endless.__contains__):
            if each not in self._endless:
                self._endless[each] = self._ends(each)
        return self._endless[root]

    def _ends(self, each: Expression) -> bool:
        if each.is_constant:
            return each in (_TOP, _BOTTOM)
        if each.kind is not Kind.DOUBLE:
            return False
        if each.op == "case":
            return any(self._endless[value] for value in algebra.values_of(each))
        kept = ("abs", "add", "cast", "ceil", "floor", "multiply", "negate", "subtract", "total")
        if each.op == "divide":
            return self._endless[each.args[0]]
        return each.op in kept and any(self._endless[arg] for arg in each.args)

    def _rounded(self, each: Expression) -> Expression:
        """A double as ONNX rounds it to float32: infinite where it is beyond it. A REAL, or a FLOAT if it may be so."""
        if each.is_constant:
            return _finite(algebra.narrow(each))
        bare = narrow(each)
        if self._sizes.digits(each) <= DIGITS[Kind.FLOAT]:
            return bare
        if bare.op != "cast":  # of constants in a `case`, which each was rounded: none stands for infinity
            bare = expression("cast", Kind.FLOAT, (each,), missing=True)
        made = infinite_beyond_float32(each, as_double(bare), (_TOP, _BOTTOM))
        self._bare[made] = bare
        return made

    def _cast(self, each: Expression, args: Sequence[Expression]) -> Expression:
        (arg,) = args
        if each.kind is Kind.FLOAT and arg.kind is Kind.DOUBLE:
            return arg if self._is_float32(arg) else self._rounded(_zero_where_tiny(arg))
        if each.kind is Kind.DOUBLE and arg.kind is Kind.DOUBLE:
            return arg
        return _rebuilt(each, args)

    def _is_float32(self, each: Expression) -> bool:
        """Whether a double is a float32 already, or stands for an infinite one."""
        if each.op == "case":
            return all(map(self._is_float32, algebra.values_of(each)))
        if each.is_constant:
            return each.value is None or each in (_TOP, _BOTTOM)
        return each.op == "cast" and each.args[0].kind is Kind.FLOAT

    def _within(self, each: Expression, digits: float) -> Expression:
        """A number that is cut where it is larger, as infinity is."""
        if self._sizes.digits(each) <= digits:
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
        if each.kind is not Kind.FLOAT:
            return made
        # In double precision and then rounded, it is what float32 arithmetic gives to the last bit.
        small, large = sorted(args, key=self._sizes.digits)
        if each.op != "multiply" and large.kind is Kind.FLOAT and self._sizes.digits(small) < _UNFELT:
            return narrow(made)
        return self._rounded(made)

    def _add(self, a: Expression, b: Expression) -> Expression:
        made = algebra.add(*(self._within(side, _LARGEST - 1) for side in (a, b)))
        return self._unless_opposite(a, algebra.negate(b), made) if a is not b else made

    def _subtract(self, a: Expression, b: Expression) -> Expression:
        made = algebra.subtract(*(self._within(side, _LARGEST - 1) for side in (a, b)))
        return self._unless_opposite(a, b, made)

    def _unless_opposite(self, a: Expression, b: Expression, difference: Expression) -> Expression:
        """NaN is what infinity leaves of infinity."""
        if not (self._may_be_infinite(a) and self._may_be_infinite(b)):
            return difference
        both = [all_of(*(beyond(side, double(_ENDS)) for side in (a, b)))]
        both.append(all_of(*(below(side, double(-_ENDS)) for side in (a, b))))
        return case([(any_of(*both), _NAN)], difference)

    def _multiply(self, a: Expression, b: Expression) -> Expression:
        factors = a, b
        if self._sizes.digits(a) + self._sizes.digits(b) > _LARGEST:
            factors = (self._within(a, math.log10(INFINITY)), self._within(b, math.log10(INFINITY)))
        made = algebra.multiply(*factors)
        # 0 × ∞ is NaN
        nan = [
            all_of(_is_infinite(one), equals(other, double(0)))
            for one, other in ((a, b), (b, a))
            if self._may_be_infinite(one) and not (other.is_constant and other.value) and one is not other
        ]
        return case([(any_of(*nan), _NAN)], made) if nan else made

    def _total(self, each: Expression, args: Sequence[Expression]) -> Expression:
        if each.kind is Kind.INTEGER:
            return _rebuilt(each, args)
        room = _LARGEST - math.log10(len(args))
        if sum(map(self._may_be_infinite, args)) > 1:
            # Their sum may be NaN, and a look at each of them in each sum would be a layer's text once more.
            args = [self._bare.get(arg, arg) for arg in args]
        made = algebra.total([self._within(as_double(arg), room) for arg in args])
        return self._rounded(made) if each.kind is Kind.FLOAT else made

    def _divided(self, each: Expression, args: Sequence[Expression]) -> Expression:
        if each.kind is Kind.INTEGER:
            return case([(equals(args[1], constant(0, Kind.INTEGER)), absent(Kind.INTEGER))], _rebuilt(each, args))
        made = self._divide(*(as_double(arg) for arg in args))
        if all(map(self._may_be_infinite, args)):
            made = case([(all_of(*map(_is_infinite, args)), _NAN)], made)
        return self._rounded(made) if each.kind is Kind.FLOAT else made

    def _divide(self, a: Expression, b: Expression) -> Expression:
        if b.is_constant and b.value:
            # By less than 1 it grows.
            return algebra.divide(self._within(a, _LARGEST - 1 + min(0.0, math.log10(abs(float(b.value))))), b)
        if is_at_least_one(b):
            return algebra.divide(a, b)
        if is_positive(b):
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
        none = [equals(b, double(0))] + ([_is_infinite(a)] if self._may_be_infinite(a) else [])
        rest = case([(any_of(*none), _NAN)], self._subtract(a, self._multiply(whole, b)))
        return self._rounded(rest) if each.kind is Kind.FLOAT else rest

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
        return self._rounded(made) if cell.kind is Kind.FLOAT else made

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


def _is_infinite(each: Expression) -> Expression:
    return any_of(beyond(each, double(_ENDS)), below(each, double(-_ENDS)))


def _zero_where_tiny(each: Expression) -> Expression:
    """Nearer to zero than a REAL's normal numbers it is zero, and not one that a cast may refuse."""
    if not _may_be_tiny(each):
        return each
    return case([(below(algebra.function("abs", each), double(_LEAST_REAL)), double(0))], each)


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
    kind = each.kind
    if kind is Kind.FLOAT and each.op != "cast" and any(value.kind is Kind.DOUBLE for value in values):
        kind = Kind.DOUBLE  # what stands for infinity is a number of that alone
    missing = each.kind is not Kind.BOOLEAN and (each.missing or each.nan or any(value.missing for value in values))
    return expression(each.op, kind, args, value=each.value, missing=missing, infinite=each.infinite)
