"""How an expression is written in SQL, as far as databases agree; a subclass states what differs in its database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from onnx_pipeline.engines.sql.dialects.literals import Choice, Number, Text
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.passes.steps import ELEMENT_NESTS, Limits

__all__ = ["Sql", "SqlDialect"]

Sql: TypeAlias = sa.ColumnElement[Any]
_SAID = 200
"""Characters of a refused value that its error shows."""


class SqlDialect:
    """One database's SQL. `write` makes what SQLAlchemy renders of an expression whose arguments are written already.

    A boolean value and a condition are two things: T-SQL has no boolean column. What compares is a condition;
    `value_of` makes a value of it, and `condition` a condition of a value.
    """

    limits: ClassVar[Limits] = Limits(depth=60, cases=60)
    stores_nan: ClassVar[bool] = False
    types: ClassVar[Mapping[Kind, "sa.types.TypeEngine[Any]"]] = {
        Kind.FLOAT: sa.REAL(),
        Kind.DOUBLE: sa.Double(),
        Kind.INTEGER: sa.BigInteger(),
        Kind.BOOLEAN: sa.Boolean(),
        Kind.TEXT: sa.Unicode(),
    }

    def guarded(self, outputs: Mapping[str, Expression]) -> dict[Expression, Expression]:
        """Each output, and what it is computed from, to what stands for it where the database would fail of it."""
        return {}

    def write(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The expression in this database's SQL."""
        writer: Callable[[Expression, Sequence[Sql]], Sql] = getattr(self, f"write_{each.op}")
        return writer(each, args)

    @property
    def renders_by(self) -> Dialect:
        """SQLAlchemy's dialect, as the pool has it."""
        raise NotImplementedError

    # Values and conditions

    def value_of(self, each: Expression, written: Sql) -> Sql:
        """A condition as a value that a column may hold."""
        return written

    def condition(self, each: Expression, written: Sql) -> Sql:
        """A column of booleans as a condition."""
        return written

    # Leaves

    def write_constant(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A literal."""
        if each.value is None:
            return sa.cast(sa.null(), self.types[each.kind])
        if each.kind is Kind.TEXT:
            return Text(str(each.value))
        if each.kind is Kind.BOOLEAN:
            return sa.true() if each.value else sa.false()
        return self.number(each)

    def number(self, each: Expression) -> Sql:
        """A number as its kind."""
        return Number(each.value, self.types[each.kind])  # type: ignore[arg-type]  # of numbers

    # Arithmetic

    def write_add(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a + b`."""
        return args[0] + args[1]

    def write_subtract(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a - b`."""
        return args[0] - args[1]

    def write_multiply(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a * b`."""
        return args[0] * args[1]

    def write_divide(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a / b`."""
        return args[0].op("/", precedence=8)(args[1])

    def write_remainder(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """What `a / b` leaves, of the sign of `a`."""
        return sa.func.mod(*args)

    def write_power(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a` to the power of `b`."""
        return sa.func.power(*args)

    def write_negate(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`-a`."""
        return -args[0]

    def write_total(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A sum, nested as evenly as it goes: a parser's stack holds a thousand, and not ten thousand."""
        return _balanced(args)

    # Functions

    def write_abs(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`|a|`."""
        return sa.func.abs(args[0])

    def write_ceil(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The next whole number above."""
        return sa.func.ceiling(args[0])

    def write_floor(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The next whole number below."""
        return sa.func.floor(args[0])

    def write_exp(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The power of e."""
        return sa.func.exp(args[0])

    def write_log(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The natural logarithm."""
        return sa.func.ln(args[0])

    def write_sqrt(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The square root."""
        return sa.func.sqrt(args[0])

    def write_sign(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """-1, 0 or 1."""
        return sa.func.sign(args[0])

    def write_tanh(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The hyperbolic tangent."""
        return sa.func.tanh(args[0])

    # Kinds

    def write_cast(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A value of another kind."""
        return sa.cast(args[0], self.types[each.kind])

    def write_fail(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """An error that says what a value is refused for: of a text that is read as a number."""
        said = sa.cast(args[0], sa.Unicode(_SAID)).concat(Text(f" {each.value}"))
        return sa.cast(sa.cast(said, sa.Integer()), self.types[each.kind])

    # Conditions

    def compared(self, each: Expression, args: Sequence[Sql]) -> Sequence[Sql]:
        """Both sides of a comparison."""
        return args

    def write_at_most(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <= b`."""
        a, b = self.compared(each, args)
        return a <= b

    def write_below(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a < b`."""
        a, b = self.compared(each, args)
        return a < b

    def write_at_least(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a >= b`."""
        a, b = self.compared(each, args)
        return a >= b

    def write_beyond(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a > b`."""
        a, b = self.compared(each, args)
        return a > b

    def write_equals(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a = b`."""
        a, b = self.compared(each, args)
        return a == b

    def write_differs(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <> b`, or one of them missing."""
        a, b = self.compared(each, args)
        return sa.or_(a != b, *self._missing(each.args, args))

    def write_is_missing(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a` is NULL."""
        return args[0].is_(None)

    def write_not_at_most(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a > b`, or one of them missing."""
        a, b = self.compared(each, args)
        return sa.or_(a > b, *self._missing(each.args, args))

    def write_not_below(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a >= b`, or one of them missing."""
        a, b = self.compared(each, args)
        return sa.or_(a >= b, *self._missing(each.args, args))

    def write_not_at_least(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a < b`, or one of them missing."""
        a, b = self.compared(each, args)
        return sa.or_(a < b, *self._missing(each.args, args))

    def write_not_beyond(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <= b`, or one of them missing."""
        a, b = self.compared(each, args)
        return sa.or_(a <= b, *self._missing(each.args, args))

    def write_negation(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """Not `a`, which is a column, a CASE or IS NULL: never unknown."""
        return sa.not_(args[0])

    def _missing(self, expressions: Sequence[Expression], args: Sequence[Sql]) -> list[Sql]:
        return [arg.is_(None) for each, arg in zip(expressions, args, strict=True) if each.missing]

    def write_all_of(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """All hold."""
        return sa.and_(*args)

    def write_any_of(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """One holds."""
        return sa.or_(*args)

    def write_case(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The value behind the first condition that holds."""
        return Choice(list(zip(args[:-1:2], args[1:-1:2], strict=True)), args[-1], self.types[each.kind])

    def write_element(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A look-up, by halves: a comparison for each doubling of the values."""
        index, *values = args
        places = [_Chunk(start, values[start : start + _HALVED]) for start in range(0, len(values), _HALVED)]
        *arms, last = [chunk.chosen(index) for chunk in places]
        if not arms:
            return last
        ends = [_below(index, chunk.start + _HALVED) for chunk in places[:-1]]
        return sa.case(*zip(ends, arms, strict=True), else_=last)


_HALVED = 2 ** (ELEMENT_NESTS - 1)


@dataclass(frozen=True)
class _Chunk:
    """Values that stand behind each other, the first at the place `start`."""

    start: int
    values: Sequence[Sql]

    def chosen(self, index: Sql) -> Sql:
        """The value at a place of these."""
        if len(self.values) == 1:
            return self.values[0]
        half = (len(self.values) + 1) // 2
        left, right = _Chunk(self.start, self.values[:half]), _Chunk(self.start + half, self.values[half:])
        return sa.case((_below(index, right.start), left.chosen(index)), else_=right.chosen(index))


def _below(index: Sql, place: int) -> Sql:
    return index < Number(place, sa.Integer())


def _balanced(terms: Sequence[Sql]) -> Sql:
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    # Not by Python's `+`, of which SQLAlchemy makes one long sum without brackets.
    return _balanced(terms[:middle]).op("+", precedence=7)(_balanced(terms[middle:]))
