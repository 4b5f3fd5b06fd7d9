"""T-SQL of SQL Server 2017 and Azure SQL: no boolean values, no NaN, no infinity, CASE at most ten deep."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import BIT

from onnx_pipeline.engines.sql.dialects.base import Sql, SqlDialect
from onnx_pipeline.engines.sql.dialects.literals import Number
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.passes.steps import Limits
from onnx_pipeline.pools.tsql.dialect import BINARY_COLLATION

__all__ = ["TsqlDialect"]

_ONE: Sql = sa.literal_column("1")
_ZERO: Sql = sa.literal_column("0")


class TsqlDialect(SqlDialect):
    """What T-SQL does otherwise."""

    limits: ClassVar[Limits] = Limits(depth=60, cases=9)
    """https://learn.microsoft.com/sql/t-sql/language-elements/case-transact-sql: nesting ends at level 10."""
    types: ClassVar[Mapping[Kind, sa.types.TypeEngine[Any]]] = {**SqlDialect.types, Kind.BOOLEAN: BIT()}

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
        """An integer beyond 32 bits would be read as a decimal."""
        value: Any = each.value
        wanted = self.types[each.kind]
        return sa.cast(Number(value, wanted), wanted) if each.kind is Kind.INTEGER else Number(value, wanted)

    def write_equals(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """Texts by code point, and with the blanks at their ends, which `=` does not count."""
        if each.args[0].kind is not Kind.TEXT:
            return super().write_equals(each, args)
        a, b = args
        same = a.collate(BINARY_COLLATION) == b
        return sa.and_(same, sa.func.datalength(a) == sa.func.datalength(b))

    def write_log(self, each: Expression, args: Sequence[Sql]) -> Sql:
        """The natural logarithm."""
        return sa.func.log(args[0])
