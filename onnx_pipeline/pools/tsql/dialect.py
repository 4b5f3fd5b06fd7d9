"""T-SQL as every server since SQL Server 2017 reads it: types, quoting, literals, statements as text.

SQLAlchemy's own dialect would make DATETIME (a 300th of a second), DOUBLE PRECISION and NTEXT of generic types.
"""

import datetime
import decimal
import math
import uuid
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIME2, DATETIMEOFFSET, NVARCHAR, TIME
from sqlalchemy.dialects.mssql.base import MSDialect, MSSQLCompiler, MSTypeCompiler
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.sql.compiler import Compiled

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.base.types import column_type_of_arrow, sqlalchemy_type
from onnx_pipeline.pools.bound_values import bound_values
from onnx_pipeline.pools.queries import with_queries
from onnx_pipeline.pools.tables import STORED
from onnx_pipeline.pools.tsql.queries import put_in
from onnx_pipeline.pools.tsql.select_into import SelectInto
from onnx_pipeline.pools.tsql.uuids import uuid_text

__all__ = [
    "BINARY_COLLATION",
    "DIALECT",
    "KEY_LENGTH",
    "OldDateTime",
    "as_stored",
    "compiled",
    "key_text",
    "literal",
    "mark_type",
    "national",
    "parameters",
    "quoted",
    "readable",
    "sent_schema",
    "sql_type",
    "stored_type",
]

KEY_LENGTH = 450
"""Characters of a string key: an index takes 900 bytes of key on every version."""

BINARY_COLLATION = "Latin1_General_BIN2"
"""Compares code points: partition keys that differ in case alone are different partitions."""


class _Types(MSTypeCompiler):
    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        return "DATETIME2(6)"

    def visit_datetime(self, type_: Any, **kw: Any) -> str:
        return "DATETIMEOFFSET(6)" if type_.timezone else "DATETIME2(6)"

    def visit_double(self, type_: Any, **kw: Any) -> str:
        return "FLOAT(53)"

    visit_DOUBLE = visit_DOUBLE_PRECISION = visit_double  # noqa: N815 - SQLAlchemy's names

    def visit_time(self, type_: Any, **kw: Any) -> str:
        return "TIME(6)"

    def visit_large_binary(self, type_: Any, **kw: Any) -> str:
        return "VARBINARY(max)"


class _Statements(MSSQLCompiler):
    def render_literal_value(self, value: Any, type_: Any) -> str:
        return literal(value)

    def visit_cast(self, cast: Any, **kw: Any) -> str:
        # By way of an integer: not every server takes a BIT for a fraction.
        if isinstance(cast.clause.type, sa.Boolean) and isinstance(cast.type, sa.Float | sa.Numeric):
            return str(self.process(sa.cast(sa.cast(cast.clause, sa.SmallInteger), cast.type), **kw))
        text: str = super().visit_cast(cast, **kw)
        return text

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        return f"CAST({sqltext} AS {self.dialect.type_compiler_instance.process(type_)})"


class _Date(sa.Date):
    render_bind_cast = True


class _Time(sa.Time):
    render_bind_cast = True


class _DateTime(sa.DateTime):
    render_bind_cast = True


class _DateTime2(DATETIME2):
    render_bind_cast = True


class _DateTimeOffset(DATETIMEOFFSET):
    render_bind_cast = True


class OldDateTime(sa.types.UserDefinedType[Any]):
    """DATETIME as it is, in 300ths of a second: what a column of ours never is, and one of somebody else's may be."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DATETIME"


class _Dialect(MSDialect):
    type_compiler_cls = _Types
    statement_compiler = _Statements
    supports_statement_cache = False
    bind_typing = BindTyping.RENDER_CASTS
    colspecs = MSDialect.colspecs | {sa.Date: _Date, sa.Time: _Time, sa.DateTime: _DateTime}


DIALECT = _Dialect(paramstyle="qmark", deprecate_large_types=True)
# What it would otherwise ask a server: SQL Server 2017.
DIALECT.server_version_info = (14,)  # type: ignore[assignment]  # declared as the empty tuple


Statement: TypeAlias = (
    SelectInto | sa.Select[Any] | sa.Insert | sa.Update | sa.Delete | sa.TextClause | sa.schema.ExecutableDDLElement
)


def compiled(statement: Statement) -> Compiled:
    """The statement with `?` where values are bound."""
    text: Compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return with_queries(text, put_in)


def parameters(statement: Compiled) -> list[Any]:
    """The values to bind, in order; dates and times as texts, which the statement casts to what they are.

    Left to themselves, one driver drops the zone of a time, the other sends types of its own choice, and a server
    compares those with a column by rules of its own: rows at the edge of a partition then fall on either side.
    """
    return [value if _temporal(value) is None else _text(value) for value in bound_values(statement)]


def _temporal(value: object) -> str | None:
    """The T-SQL type of a date or time; None for any other value."""
    if isinstance(value, datetime.datetime):
        return "DATETIME2(6)" if value.tzinfo is None else "DATETIMEOFFSET(6)"
    if isinstance(value, datetime.date):
        return "DATE"
    return "TIME(6)" if isinstance(value, datetime.time) else None


def _text(value: Any) -> str:
    """A date or time in ISO 8601, which T-SQL reads in the same way under every language and date format."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep="T", timespec="microseconds")
    return str(value.isoformat(timespec="microseconds") if isinstance(value, datetime.time) else value.isoformat())


def readable(statement: Statement) -> str:
    """The statement with its values in it: for people to read, and for CREATE EXTERNAL TABLE AS, which binds none."""
    return str(with_queries(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}), put_in))


def quoted(*names: str | None) -> str:
    """Identifiers in brackets, joined by dots; None is left out."""
    return ".".join("[" + name.replace("]", "]]") + "]" for name in names if name is not None)


def literal(value: object) -> str:
    """A value as T-SQL text, for statements that bind none: COPY INTO, CREATE EXTERNAL TABLE AS, EXEC arguments.

    Raises PoolError for what has no literal: NaN, infinities, other types.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, float) and math.isfinite(value):
        # An exponent makes it a FLOAT; without one it would be a DECIMAL.
        return f"{value!r}" if "e" in repr(value) else f"{value!r}e0"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    kind = _temporal(value)
    if kind is not None:
        return f"CAST('{_text(value)}' AS {kind})"
    if isinstance(value, uuid.UUID):
        return f"CAST('{value}' AS UNIQUEIDENTIFIER)"
    if isinstance(value, str):
        text = "'" + value.replace("'", "''") + "'"
        return text if value.isascii() else f"N{text}"
    raise PoolError(f"{value!r} ({type(value).__name__}) has no T-SQL literal")


def national(text: str) -> str:
    """An NVARCHAR literal, whatever the text: procedures such as sp_executesql take no other."""
    return "N" + literal(text).removeprefix("N")


def sql_type(
    arrow: pa.DataType, *, column: str, is_key: bool = False, collation: str | None = None
) -> sa.types.TypeEngine[Any]:
    """The column type that stores an Arrow column; a string key is bounded, so that an index can hold it.

    `collation` is that of a string; None: the database's own.
    """
    kind = None if pa.types.is_decimal(arrow) else column_type_of_arrow(arrow, column=column).name
    if kind == "string":
        return NVARCHAR(KEY_LENGTH if is_key else None, collation=collation)
    if kind == "timestamp":
        return _DateTime2(6)
    if kind == "timestamp_utc":
        return _DateTimeOffset(6)
    return TIME(6) if kind == "time" else sqlalchemy_type(arrow, column=column)


def key_text() -> NVARCHAR:
    """A name or key of ours, compared by code point."""
    return NVARCHAR(KEY_LENGTH, collation=BINARY_COLLATION)


_STORED = {**STORED, pa.float16(): pa.float32()}


def stored_type(arrow: pa.DataType, *, column: str) -> pa.DataType:
    """What a column that `sql_type` made hands back: T-SQL has no unsigned and no half types."""
    if pa.types.is_decimal(arrow):
        return arrow
    canonical = column_type_of_arrow(arrow, column=column).arrow
    return _STORED.get(canonical, canonical)


def as_stored(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows in the types that a table stores; a UUID as its text, which every driver sends."""
    schema = sent_schema(batch.schema)
    arrays = []
    for field, array in zip(schema, batch.columns, strict=True):
        if array.type == pa.uuid():
            arrays.append(uuid_text(array))
        else:
            arrays.append(array if array.type == field.type else array.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def sent_schema(schema: pa.Schema) -> pa.Schema:
    """The columns of what `as_stored` gives."""
    stored = [(field.name, stored_type(field.type, column=field.name)) for field in schema]
    return pa.schema([pa.field(name, pa.string() if arrow == pa.uuid() else arrow) for name, arrow in stored])


def mark_type(arrow: pa.DataType, second_digits: int, *, column: str) -> sa.types.TypeEngine[Any]:
    """The SQL type of a value that passes from table to table until it is compared with the source's.

    By fewer digits than the source has INSERT … SELECT would round a time, which readers cut.
    """
    if pa.types.is_timestamp(arrow):
        return DATETIME2(second_digits) if arrow.tz is None else DATETIMEOFFSET(second_digits)
    return TIME(second_digits) if pa.types.is_time(arrow) else sql_type(arrow, column=column)
