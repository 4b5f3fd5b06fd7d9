"""DuckDB as SQLAlchemy compiles for it.

No connection goes through it, only texts: so nothing of duckdb-engine's is needed, whose import takes a tenth of a
second, with the dialects of PostgreSQL and two instances of DuckDB that it makes on the way.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer, SQLCompiler

__all__ = ["DIALECT"]


class _Preparer(IdentifierPreparer):
    """Quotes every name: which words are reserved changes from version to version."""

    def _requires_quotes(self, value: str) -> bool:
        return True


class _Types(GenericTypeCompiler):
    """https://duckdb.org/docs/stable/sql/data_types/overview, where it differs from the standard's names."""

    def visit_datetime(self, type_: sa.DateTime, **kw: Any) -> str:
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_TIMESTAMP(self, type_: Any, **_: Any) -> str:
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_ARRAY(self, type_: sa.ARRAY[Any], **kw: Any) -> str:
        return self.process(type_.item_type, **kw) + "[]" * (type_.dimensions or 1)


class _Compiler(SQLCompiler):
    def visit_try_cast(self, element: sa.TryCast[Any], **kw: Any) -> str:
        return f"TRY_{self.visit_cast(element, **kw)}"  # type: ignore[no-untyped-call]  # SQLAlchemy's own

    def visit_empty_set_expr(self, element_types: Any, **_: Any) -> str:
        nulls = ", ".join(
            f"CAST(NULL AS {self.dialect.type_compiler_instance.process(each)})" for each in element_types
        )
        return f"SELECT {nulls} WHERE false"

    def update_from_clause(
        self, update_stmt: Any, from_table: Any, extra_froms: Sequence[Any], from_hints: Any, **kw: Any
    ) -> str:
        return "FROM " + self._tables(extra_froms, from_hints, **kw)

    def delete_extra_from_clause(
        self, delete_stmt: Any, from_table: Any, extra_froms: Sequence[Any], from_hints: Any, **kw: Any
    ) -> str:
        return "USING " + self._tables(extra_froms, from_hints, **kw)

    def _tables(self, froms: Sequence[Any], hints: Any, **kw: Any) -> str:
        named = kw | {"asfrom": True, "fromhints": hints}
        return ", ".join(self.process(each, **named) for each in froms)


class _DuckDB(DefaultDialect):
    name = "duckdb"
    supports_statement_cache = False
    supports_native_boolean = True
    supports_native_uuid = True
    supports_multivalues_insert = True
    div_is_floordiv = False
    statement_compiler = _Compiler
    type_compiler_cls = _Types
    preparer = _Preparer


DIALECT = _DuckDB(paramstyle="numeric_dollar")
