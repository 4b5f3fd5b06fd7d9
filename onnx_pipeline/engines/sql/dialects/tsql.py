"""T-SQL of SQL Server 2017 and Azure SQL: no boolean values, no NaN, no infinity, CASE at most ten deep."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import BIT
from sqlalchemy.engine.interfaces import Dialect

from onnx_pipeline.engines.sql.algebra import is_value
from onnx_pipeline.engines.sql.dialects.base import Sql, SqlDialect
from onnx_pipeline.engines.sql.dialects.literals import Number, Text
from onnx_pipeline.engines.sql.dialects.tsql_numbers import GuardedNumbers
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.passes.steps import Limits
from onnx_pipeline.pools.tsql.dialect import BINARY_COLLATION, DIALECT

__all__ = ["TsqlDialect"]

_ONE: Sql = sa.literal_column("1")
_ZERO: Sql = sa.literal_column("0")
_BOUNDED = 4000
"""The longest NVARCHAR that is no large object."""
_LONG_TEXT = 1000
"""A constant of fewer characters is unequal to whatever `_BOUNDED` cuts off."""


class TsqlDialect(SqlDialect):
    """What T-SQL does otherwise."""

    limits: ClassVar[Limits] = Limits(depth=60, cases=9, operands=50_000, columns=4096, stored_columns=1024)
    """CASE nests to level 10, and one expression has at most 65,535 identifiers and constants.

    A SELECT has 4,096 columns, a derived table's too, and a table 1,024.

    https://learn.microsoft.com/sql/t-sql/language-elements/case-transact-sql
    https://learn.microsoft.com/sql/sql-server/maximum-capacity-specifications-for-sql-server
    """
    types: ClassVar[Mapping[Kind, sa.types.TypeEngine[Any]]] = {**SqlDialect.types, Kind.BOOLEAN: BIT()}

    @property
    def renders_by(self) -> Dialect:
        """The pool's own."""
        return DIALECT

    def value_of(self, each: Expression, written: Sql) -> Sql:
        """A condition is no value here."""
        return sa.cast(sa.case((written, _ONE), else_=_ZERO), self.types[Kind.BOOLEAN])

    def condition(self, each: Expression, written: Sql) -> Sql:
        """A BIT is no condition."""
        return written == _ONE

    def write_constant(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A boolean constant, where it stands as a condition."""
        if each.kind is Kind.BOOLEAN:
            holds = _ONE if each.value else _ZERO
            return holds == _ONE
        return super().write_constant(each, args)

    def number(self, each: Expression) -> Sql:
        """As its kind: an integer beyond 32 bits would be read as a decimal, and beside a FLOAT a REAL is one, too."""
        value: Any = each.value
        wanted = self.types[each.kind]
        return Number(value, wanted, is_cast=each.kind is not Kind.DOUBLE)

    def compared(self, each: Expression, args: Sequence[Sql]) -> Sequence[Sql]:
        """A number is as it is: each float32 is a double, and compared as one. A text goes by its code points."""
        if each.args[0].kind is Kind.TEXT:
            wide = self._wide(each.args)
            return [self._exact(side, written, wide) for side, written in zip(each.args, args, strict=True)]
        return [self._bare(side, written) for side, written in zip(each.args, args, strict=True)]

    def _bare(self, side: Expression, written: Sql) -> Sql:
        if side.is_constant and side.kind is Kind.FLOAT and side.value is not None:
            value: Any = side.value
            return Number(value, self.types[Kind.DOUBLE])
        return written

    collation: ClassVar[str] = BINARY_COLLATION
    """Compares code points."""

    def _exact(self, side: Expression, written: Sql, wide: "sa.types.TypeEngine[Any]") -> Sql:
        """A text with a dot behind it: `=` does not count the blanks at a text's end."""
        if side.is_constant:
            return Text(f"{side.value}.")
        return self.as_unicode(written, wide).op("+", precedence=7)(Text(".")).collate(self.collation)

    def _wide(self, sides: Sequence[Expression]) -> "sa.types.TypeEngine[Any]":
        """A type that holds as much of a text as decides whether it equals the other; without an end it is slow."""
        short = any(side.is_constant and len(str(side.value)) < _LONG_TEXT for side in sides)
        return sa.Unicode(_BOUNDED) if short else self.types[Kind.TEXT]

    def as_unicode(self, written: Sql, wide: "sa.types.TypeEngine[Any]") -> Sql:
        """A text of any code page. The collation of a VARCHAR is its code page, too; what that lacks would be `?`.

        https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support
        """
        return sa.cast(written, wide)

    def write_case(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The value behind the first condition that holds; a text of several columns has one collation."""
        places = [place for place in range(len(args)) if is_value(each, place)]
        return super().write_case(each, self._of_one_collation(each, args, places))

    def write_element(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """A look-up among values, which may be texts of several columns, too."""
        return super().write_element(each, self._of_one_collation(each, args, range(1, len(args))))

    def _of_one_collation(self, each: Expression, args: Sequence[Sql], places: Iterable[int]) -> Sequence[Sql]:
        """Texts as they are if they are of one column, else with our collation: a CASE over two has none otherwise.

        https://learn.microsoft.com/sql/t-sql/statements/collation-precedence-transact-sql: no SELECT may list it then.
        """
        columns = [place for place in places if not each.args[place].is_constant]
        if each.kind is not Kind.TEXT or len({each.args[place] for place in columns}) < 2:
            return args
        made = list(args)
        for place in columns:
            made[place] = self.as_unicode(args[place], self.types[Kind.TEXT]).collate(self.collation)
        return made

    def guarded(self, outputs: Mapping[str, Expression]) -> dict[Expression, Expression]:
        """Overflow, division by zero and the logarithm of nothing end a statement."""
        numbers = GuardedNumbers()
        made = numbers.guarded(list(outputs.values()))
        return made | {each: numbers.output(made[each], each.kind) for each in outputs.values()}

    def write_cast(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """What the kind cannot hold is missing, where CAST would end the statement."""
        (inner,) = each.args
        if inner.kind is Kind.TEXT or (inner.kind.is_float and each.kind is not Kind.DOUBLE):
            return sa.try_cast(args[0], self.types[each.kind])
        return super().write_cast(each, args)

    def write_log(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The natural logarithm."""
        return sa.func.log(args[0])
