"""Expressions that partitioning needs, in T-SQL of SQL Server 2017."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIME2, DATETIMEOFFSET, NVARCHAR, VARBINARY, VARCHAR

__all__ = ["base_type", "bucket", "by_code_point", "exact_text", "truncate"]

_SEPARATOR: sa.ColumnElement[Any] = sa.literal_column("'|'")


def bucket(columns: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
    """The first three bytes of the key's MD5, modulo `buckets`.

    The same bucket as in every other pool while the key's text is ASCII. T-SQL has no UTF-8 before SQL Server 2019: other
    text is hashed as the code page or, where that cannot hold it, UTF-16 spells it.
    """
    texts = [sa.func.coalesce(_text(column), sa.literal_column("''")) for column in columns]
    text: sa.ColumnElement[Any] = texts[0]
    for other in texts[1:]:
        text = text.op("+")(_SEPARATOR).op("+")(other)
    narrow = sa.cast(text, VARCHAR(8000))
    octets: sa.ColumnElement[Any] = sa.cast(narrow, VARBINARY(8000))
    if any(_is_text(column) for column in columns):
        wide = sa.cast(text, NVARCHAR(4000))
        fits = sa.cast(narrow, NVARCHAR(4000)) == wide
        octets = sa.case((fits, octets), else_=sa.cast(wide, VARBINARY(8000)))
    digest = sa.func.hashbytes(sa.literal_column("'MD5'"), octets)
    number = sa.cast(sa.func.substring(digest, sa.literal_column("1"), sa.literal_column("3")), sa.Integer)
    return number.op("%")(sa.literal_column(str(int(buckets))))


def exact_text(column: sa.ColumnElement[Any], collation: str) -> sa.ColumnElement[Any]:
    """A text by its code points, without the blanks at its end, which CHAR is padded with and `=` does not count.

    As Unicode first: to collate a VARCHAR otherwise means to write it in another code page.
    """
    return sa.func.rtrim(sa.cast(column, NVARCHAR(4000))).collate(collation)


def by_code_point(column: sa.ColumnElement[Any], collation: str) -> sa.ColumnElement[Any]:
    """A text without its collation; as Unicode first, as for `exact_text`."""
    return sa.cast(column, NVARCHAR(4000)).collate(collation)


def _is_text(column: sa.ColumnElement[Any]) -> bool:
    return isinstance(column.type, sa.String | sa.types.NullType)


def _text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.Date):
        return sa.func.convert(sa.literal_column("VARCHAR(10)"), column, sa.literal_column("23"))
    if isinstance(column.type, sa.DateTime):
        return sa.func.convert(sa.literal_column("VARCHAR(40)"), column, sa.literal_column("121"))
    if isinstance(column.type, sa.Uuid):
        return sa.func.lower(sa.cast(column, VARCHAR(36)))
    return sa.cast(column, NVARCHAR(4000) if _is_text(column) else VARCHAR(60))


def truncate(column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
    """A time cut to the `day` or the `quarter_hour`.

    Minutes are counted from the day's own midnight: from any fixed date, DATEDIFF's 32 bits overflow within the years
    that DATETIME2 holds.
    """
    if unit == "day":
        return sa.cast(column, sa.Date)
    minute: sa.ColumnElement[Any] = sa.literal_column("MINUTE")
    fifteen: sa.ColumnElement[Any] = sa.literal_column("15")
    zoned = isinstance(column.type, DATETIMEOFFSET)
    at_utc = sa.func.switchoffset(column, sa.literal_column("'+00:00'")) if zoned else column
    kind = DATETIMEOFFSET(0) if zoned else DATETIME2(0)
    midnight = sa.cast(sa.cast(at_utc, sa.Date), kind)
    minutes = sa.func.datediff(minute, midnight, at_utc)
    return sa.func.dateadd(minute, minutes.op("/")(fifteen).op("*")(fifteen), midnight)


def base_type(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The name of a value's type, `datetime` for instance.

    https://learn.microsoft.com/sql/t-sql/functions/sql-variant-property-transact-sql
    """
    return sa.func.sql_variant_property(column, sa.literal_column("'BaseType'"))
