"""DuckDB: stores NaN, which it sorts above every number, and infinities; computes float32 as float32."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from onnx_pipeline.engines.sql.conditions import may_be_unknown
from onnx_pipeline.engines.sql.dialects.base import Sql, SqlDialect
from onnx_pipeline.engines.sql.dialects.literals import Items, Number, Quoted, Text
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.passes.choices import wide_choices
from onnx_pipeline.engines.sql.passes.overflow import overflowing_casts
from onnx_pipeline.engines.sql.passes.steps import Limits
from onnx_pipeline.pools.duckdb.dialect import DIALECT

__all__ = ["DuckDBDialect"]


class DuckDBDialect(SqlDialect):
    """What DuckDB does otherwise."""

    limits: ClassVar[Limits] = Limits(depth=60, cases=60, additions=12)
    """DuckDB looks for equal parts of an expression, and hashes each sum with all that is below it. The votes of 100
    trees of depth 8 took 6.0 s to plan as sums of 60, and 2.2 s as sums of 12, in one run on a busy machine.
    """
    stores_nan: ClassVar[bool] = True

    @property
    def renders_by(self) -> Dialect:
        """The pool's own."""
        return DIALECT

    def guarded(self, outputs: Mapping[str, Expression]) -> dict[Expression, Expression]:
        """A double beyond float32 has no form as one, where ONNX Runtime has infinity; and every cast is planned."""
        finite = overflowing_casts(list(outputs.values()))
        chosen = wide_choices([finite[each] for each in outputs.values()])
        return {each: chosen.get(made, made) for each, made in finite.items()}

    def value_of(self, each: Expression, written: Sql) -> Sql:
        """A condition that is not known to hold does not."""
        return sa.func.coalesce(written, sa.false()) if may_be_unknown(each) else written

    def number(self, each: Expression) -> Sql:
        """A REAL is said to be one: beside a DOUBLE, a column of REAL would be widened row by row."""
        value: Any = each.value
        wanted = self.types[each.kind]
        if isinstance(value, float) and math.isinf(value):
            return sa.cast(Text("infinity" if value > 0 else "-infinity"), wanted)
        return Number(value, wanted, is_cast=each.kind is not Kind.DOUBLE)

    def write_cast(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A double beyond float32 is missing; to a whole number a float is cut, where CAST would round it."""
        (inner,) = each.args
        if each.kind is Kind.INTEGER and inner.kind.is_float:
            return sa.try_cast(sa.func.trunc(args[0]), self.types[each.kind])
        if inner.kind is Kind.TEXT or (each.kind is Kind.FLOAT and inner.kind is Kind.DOUBLE and inner.infinite):
            return sa.try_cast(args[0], self.types[each.kind])
        return super().write_cast(each, args)

    def write_fail(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """An error that says what a value is refused for."""
        said = sa.cast(args[0], sa.Unicode()).concat(Text(f" {each.value}"))
        return sa.cast(sa.func.error(said), self.types[each.kind])

    def write_divide(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a / b`; of whole numbers, cut towards zero, and missing by zero, which would end the statement."""
        if each.kind is not Kind.INTEGER:
            return super().write_divide(each, args)
        return args[0].op("//", precedence=8)(sa.func.nullif(args[1], sa.literal_column("0")))

    def write_remainder(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """What `a / b` leaves; missing by the whole number zero, which would end the statement."""
        whole = each.kind is Kind.INTEGER
        return sa.func.mod(args[0], sa.func.nullif(args[1], sa.literal_column("0")) if whole else args[1])

    def write_sign(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """-1, 0 or 1, of which DuckDB makes a TINYINT; of NaN it would be 0."""
        return sa.cast(sa.func.sign(_without_nan(each.args[0], args[0])), self.types[each.kind])

    def write_round_even(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """Halves go to the even neighbour."""
        return sa.func.round_even(args[0], sa.literal_column("0"))

    def write_is_missing(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """NULL or NaN."""
        (inner,) = each.args
        tests = self._missing(each.args, args) + ([sa.func.isnan(args[0])] if inner.nan else [])
        return sa.or_(*tests)

    def write_case(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """Beside one REAL the other constants are texts, which are read as it is."""
        if each.kind is not Kind.FLOAT:
            return super().write_case(each, args)
        places = range(1, len(args) - 1, 2)
        made = [
            _as_text(side, written) if place in places else written
            for place, (side, written) in enumerate(zip(each.args, args, strict=True))
        ]
        return super().write_case(each, made)

    def write_element(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """From a list, which counts from 1: measured at a tenth of what a tree's CASE costs."""
        index, *values = args
        kind = self.types[each.kind]
        bare = [Number(value.value, value.type) if isinstance(value, Number) else value for value in values]
        items = sa.cast(Items(bare, kind), sa.ARRAY(kind))  # one cast, and not one around each
        return sa.func.list_extract(items, index + Number(1, sa.Integer()))

    # NaN is greater than every number: `NaN <= b` is false, as it should be, and `NaN >= b` is true

    def compared(self, each: Expression, args: Sequence[Sql]) -> Sequence[Sql]:
        """A constant beside a REAL is a text, which is read as one where it stands: a cast would be planned apiece, and
        beside a bare number, a double, the column would be widened row by row.
        """
        kinds = [side.kind for side in each.args]
        if kinds != [Kind.FLOAT, Kind.FLOAT] or all(side.is_constant for side in each.args):
            return args
        return [_as_text(side, written) for side, written in zip(each.args, args, strict=True)]

    def write_at_most(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <= b`."""
        a, b = self.compared(each, args)
        return a <= _without_nan(each.args[1], b)

    def write_below(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a < b`."""
        a, b = self.compared(each, args)
        return a < _without_nan(each.args[1], b)

    def write_at_least(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a >= b`."""
        a, b = self.compared(each, args)
        return _without_nan(each.args[0], a) >= b

    def write_beyond(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a > b`."""
        a, b = self.compared(each, args)
        return _without_nan(each.args[0], a) > b

    def write_equals(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a = b`."""
        a, b = self.compared(each, args)
        return a == _without_nan(each.args[1], b)

    def write_differs(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <> b`, or one of them missing."""
        a, b = (_without_nan(arg, written) for arg, written in zip(each.args, self.compared(each, args), strict=True))
        return sa.or_(
            a != b, *(w.is_(None) for arg, w in zip(each.args, (a, b), strict=True) if arg.missing or arg.nan)
        )

    def write_not_at_most(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a > b`, which NaN is, or one of them NULL."""
        return self._beyond(each, args, sa.ColumnElement.__gt__)

    def write_not_below(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a >= b`, which NaN is, or one of them NULL."""
        return self._beyond(each, args, sa.ColumnElement.__ge__)

    def _beyond(self, each: Expression, args: Sequence[Sql], compare: Callable[[Sql, Sql], Sql]) -> Sql:
        a, b = self.compared(each, args)
        b = _without_nan(each.args[1], b)
        tests = self._missing(each.args[:1], args[:1])
        if each.args[1].missing or each.args[1].nan:
            tests.append(b.is_(None))
        return sa.or_(compare(a, b), *tests)

    def write_not_at_least(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a < b`, or one of them missing."""
        a, b = (_without_nan(arg, written) for arg, written in zip(each.args, self.compared(each, args), strict=True))
        return sa.or_(a < b, a.is_(None), b.is_(None))

    def write_not_beyond(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """`a <= b`, or one of them missing."""
        a, b = (_without_nan(arg, written) for arg, written in zip(each.args, self.compared(each, args), strict=True))
        return sa.or_(a <= b, a.is_(None), b.is_(None))


def _without_nan(each: Expression, written: Sql) -> Sql:
    return sa.case((sa.func.isnan(written), sa.null()), else_=written) if each.nan and not each.is_constant else written


def _as_text(side: Expression, written: Sql) -> Sql:
    if side.is_constant and isinstance(side.value, float) and math.isfinite(side.value):
        return Quoted(side.value, written.type)
    return written
