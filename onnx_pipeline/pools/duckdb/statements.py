"""Statements as DuckDB takes them: SQLAlchemy's, compiled for it and run on one of its connections."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from duckdb_engine import Dialect, DuckDBIdentifierPreparer
from sqlalchemy.sql.compiler import Compiled

from onnx_pipeline.pools.records import Standing
from onnx_pipeline.pools.tables import split_name

__all__ = [
    "Statement",
    "bucket",
    "column_text",
    "columns",
    "compiled",
    "execute",
    "exists",
    "parquet",
    "quote",
    "readable",
    "reader",
    "rows",
    "scalar",
    "standing",
    "truncate",
]

_BATCH_ROWS = 122_880
"""DuckDB's row group: its scans hand out multiples of it."""


class _QuotingPreparer(DuckDBIdentifierPreparer):
    """Quotes every name: duckdb-engine goes by PostgreSQL's reserved words, and DuckDB has more (`at`, `qualify`)."""

    def _requires_quotes(self, value: str) -> bool:
        return True


class _QuotingDialect(Dialect):
    preparer = _QuotingPreparer
    supports_statement_cache = False


Statement: TypeAlias = sa.Select[Any] | sa.Insert | sa.Update | sa.Delete | sa.schema.ExecutableDDLElement

_DIALECT = _QuotingDialect(paramstyle="numeric_dollar")


def compiled(statement: Statement) -> Compiled:
    """The statement in DuckDB's SQL, with its values beside it."""
    made: Compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return made


def readable(statement: sa.Select[Any]) -> str:
    """The statement with its values in it, for people to read."""
    return str(statement.compile(dialect=Dialect(), compile_kwargs={"literal_binds": True}))


def _parameters(made: Compiled) -> list[Any]:
    positions = getattr(made, "positiontup", None) or []
    values = made.params
    return [values[name] for name in positions]


def column_text(column: sa.Column[Any]) -> str:
    """A column's name and type, as DuckDB takes them in DDL."""
    return str(sa.schema.CreateColumn(column).compile(dialect=_DIALECT))


def quote(name: str) -> str:
    """A name as DuckDB takes it in DDL."""
    return _DIALECT.identifier_preparer.quote_identifier(name)


@contextmanager
def reader(connection: duckdb.DuckDBPyConnection, statement: Statement) -> Iterator[pa.RecordBatchReader]:
    """The rows of a SELECT as Arrow batches, streamed."""
    made = compiled(statement)
    # A relation streams; a cursor's result would be copied once more.
    relation = connection.sql(str(made), params=_parameters(made))
    rows = relation.to_arrow_reader(_BATCH_ROWS)
    try:
        yield rows
    finally:
        rows.close()


def execute(connection: duckdb.DuckDBPyConnection, statement: Statement) -> int:
    """Run a statement; the number of rows that it touched, 0 for DDL."""
    # All rows: DuckDB takes no other statement before a result is read to its end.
    touched = rows(connection, statement)
    return int(touched[0][0]) if touched else 0


def rows(connection: duckdb.DuckDBPyConnection, statement: Statement) -> list[tuple[Any, ...]]:
    """All rows of a small result."""
    made = compiled(statement)
    return connection.execute(str(made), _parameters(made)).fetchall()


def scalar(connection: duckdb.DuckDBPyConnection, statement: Statement) -> Any:
    """The first column of the first row; None where there is no row."""
    found = rows(connection, statement)
    return found[0][0] if found else None


def write_parquet(connection: duckdb.DuckDBPyConnection, statement: sa.Select[Any], file: Path) -> None:
    """The rows of a SELECT into a Parquet file, streamed."""
    made = compiled(statement)
    connection.sql(str(made), params=_parameters(made)).write_parquet(str(file), compression="snappy")


def parquet(files: Iterable[Path], names: Iterable[str]) -> sa.FromClause:
    """The rows of Parquet files, as something a statement can select from."""
    paths: sa.BindParameter[Any] = sa.bindparam("files", [str(file) for file in files], unique=True)
    return sa.func.read_parquet(paths).table_valued(*names, name="stored")


def standing(connection: duckdb.DuckDBPyConnection, name: str) -> Standing:
    """A table or view of that name as the catalogue spells it; DuckDB compares names without case."""
    schema, table = split_name(name)
    (found,) = connection.execute(
        "SELECT coalesce(min(table_schema), $2, current_schema()), coalesce(min(table_name), $1), count(*) "
        "FROM information_schema.tables WHERE lower(table_name) = lower($1) "
        "AND lower(table_schema) = lower(coalesce($2, current_schema()))",
        [table, schema],
    ).fetchall()
    return Standing(f"{found[0]}.{found[1]}", bool(found[2]))


def exists(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether a table or view of that name stands in the pool."""
    return standing(connection, name).exists


def columns(connection: duckdb.DuckDBPyConnection, name: str) -> frozenset[str]:
    """The names of a table's columns; empty where there is no such table."""
    schema, table = split_name(name)
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE lower(table_name) = lower($1) "
        "AND lower(table_schema) = lower(coalesce($2, current_schema()))",
        [table, schema],
    ).fetchall()
    return frozenset(row[0] for row in found)


def bucket(columns: list[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
    """An integer in `[0, buckets)` that depends on the columns' values alone.

    MD5 rather than hash(): DuckDB does not promise that hash() stays what it is. Its first three bytes, most
    significant first: what a cast of them to an integer gives in T-SQL.
    """
    text = sa.func.concat_ws("|", *(sa.cast(column, sa.String) for column in columns))
    digest = sa.func.md5_number_upper(text)
    first, second, third = (_byte(digest, place) for place in range(3))
    number = first * sa.literal_column("65536") + second * sa.literal_column("256") + third
    return number % sa.literal_column(str(int(buckets)))


def _byte(number: sa.ColumnElement[Any], place: int) -> sa.ColumnElement[Any]:
    """Byte `place` of an unsigned number, from the least significant on."""
    shifted = number.bitwise_rshift(sa.literal_column(str(8 * place))) if place else number
    return sa.cast(shifted.bitwise_and(sa.literal_column("255")), sa.Integer)


def truncate(column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
    """A timestamp cut to the `day` or the `quarter_hour`."""
    if unit == "day":
        return sa.cast(column, sa.Date)
    return sa.func.time_bucket(sa.literal_column("INTERVAL 15 MINUTE"), column)
