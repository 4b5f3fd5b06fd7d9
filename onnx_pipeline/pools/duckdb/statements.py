"""Statements as DuckDB takes them: SQLAlchemy's, compiled for it and run on one of its connections."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.sql.compiler import Compiled

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.bound_values import bound_values
from onnx_pipeline.pools.duckdb.copy_to import CopyTo
from onnx_pipeline.pools.duckdb.dialect import DIALECT
from onnx_pipeline.pools.queries import with_queries
from onnx_pipeline.pools.records import Standing
from onnx_pipeline.pools.tables import split_name

__all__ = [
    "Nanoseconds",
    "Statement",
    "bucket",
    "by_code_point",
    "collations_of",
    "column_text",
    "columns",
    "compiled",
    "exact_text",
    "execute",
    "exists",
    "one_select",
    "parquet",
    "quote",
    "readable",
    "reader",
    "rows",
    "scalar",
    "source_type",
    "standing",
    "table",
    "truncate",
]

_COLLATED = re.compile(r"\bc(\d+) VARCHAR COLLATE ([\w.]+)")
"""A column of a table's SQL that `collations_of` named."""

_BATCH_ROWS = 61_440
"""Half a row group of DuckDB's, and no more than ONNX Runtime takes at once. Several batches are under way between reading,
scoring and writing: of 28 floats they take 40 MB, where those of a whole row group took 90, in the same CPU time."""
_BATCH_VALUES = 4_000_000
"""Most values of a batch, whatever its width: a batch of 500 floats takes 16 MB."""
_VECTOR_ROWS = 2_048
"""DuckDB hands out whole vectors."""


Statement: TypeAlias = sa.Select[Any] | sa.Insert | sa.Update | sa.Delete | sa.schema.ExecutableDDLElement | CopyTo


def compiled(statement: Statement) -> Compiled:
    """The statement in DuckDB's SQL, with its values beside it."""
    made: Compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return with_queries(made)


def readable(statement: sa.Select[Any]) -> str:
    """The statement with its values in it, for people to read."""
    return str(with_queries(statement.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})))


def collations_of(
    connection: duckdb.DuckDBPyConnection, selectable: sa.FromClause, names: Sequence[str]
) -> dict[str, str]:
    """By which collation columns of text compare, those that have one.

    No catalogue tells, but the SQL of a table does, and a table made of a query takes its columns' collations over.
    """
    columns = [selectable.c[name].label(f"c{index}") for index, name in enumerate(names)]
    probe = compiled(sa.select(*columns).select_from(selectable).limit(sa.literal_column("0")))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE onnx_collations AS {probe}").fetchall()
    told = connection.execute("SELECT sql FROM duckdb_tables() WHERE table_name = 'onnx_collations' AND temporary")
    ((text,),) = told.fetchall()
    connection.execute("DROP TABLE temp.onnx_collations").fetchall()
    return {names[int(index)]: collation for index, collation in _COLLATED.findall(text)}


def one_select(query: str) -> str:
    """A query as it may stand within a statement: without the semicolon at its end.

    SpecError where one is within it, and where the query takes a parameter.
    """
    # DuckDB counts bytes.
    text = query.encode()
    marks = [(start, kind) for start, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    while marks and text[marks[-1][0] :][:1] == b";":
        start, _ = marks.pop()
        text = text[:start] + b" " + text[start + 1 :]
    for start, kind in marks:
        if kind == duckdb.token_type.operator and text[start:][:1] == b";":
            after = text[start : start + 40].decode(errors="replace")
            raise SpecError(
                f"source: a query is one SELECT, and this one goes on after a semicolon: {after!r}. Leave one of them, or "
                "CREATE VIEW with it, and name the view: source: {table: <view>}"
            )
        if kind == duckdb.token_type.operator and text[start:][:1] in (b"$", b"?"):
            # Ours would be bound to it, and choose rows.
            after = text[start : start + 20].decode(errors="replace")
            raise SpecError(
                f"source: the query takes a parameter, and nothing fills it: {after!r}. Write the value itself"
            )
    return text.decode()


def column_text(column: sa.Column[Any]) -> str:
    """A column's name and type, as DuckDB takes them in DDL."""
    return str(sa.schema.CreateColumn(column).compile(dialect=DIALECT))


def quote(name: str) -> str:
    """A name as DuckDB takes it in DDL."""
    return DIALECT.identifier_preparer.quote_identifier(name)


@contextmanager
def reader(connection: duckdb.DuckDBPyConnection, statement: Statement) -> Iterator[pa.RecordBatchReader]:
    """The rows of a SELECT as Arrow batches, streamed. What fails on the way is `duckdb.Error`, too."""
    made = compiled(statement)
    # A relation streams; a cursor's result would be copied once more.
    relation = connection.sql(str(made), params=bound_values(made))
    vectors = _BATCH_VALUES // len(relation.columns) // _VECTOR_ROWS
    rows = relation.to_arrow_reader(min(_BATCH_ROWS, max(1, vectors) * _VECTOR_ROWS))
    try:
        yield pa.RecordBatchReader.from_batches(rows.schema, _batches(rows))
    finally:
        rows.close()


def _batches(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    try:
        yield from rows
    except (pa.ArrowException, OSError) as error:
        # Behind Arrow's interface DuckDB's errors (a cast that fails in the millionth row, no memory) have lost their class.
        raise duckdb.Error(str(error)) from error


def table(connection: duckdb.DuckDBPyConnection, statement: Statement) -> pa.Table:
    """The rows of a small result, all at once."""
    made = compiled(statement)
    return connection.sql(str(made), params=bound_values(made)).to_arrow_table()


def execute(connection: duckdb.DuckDBPyConnection, statement: Statement) -> int:
    """Run a statement; the number of rows that it touched, 0 for DDL."""
    # All rows: DuckDB takes no other statement before a result is read to its end.
    touched = rows(connection, statement)
    return int(touched[0][0]) if touched else 0


def rows(connection: duckdb.DuckDBPyConnection, statement: Statement) -> list[tuple[Any, ...]]:
    """All rows of a small result."""
    made = compiled(statement)
    return connection.execute(str(made), bound_values(made)).fetchall()


def scalar(connection: duckdb.DuckDBPyConnection, statement: Statement) -> Any:
    """The first column of the first row; None where there is no row."""
    found = rows(connection, statement)
    return found[0][0] if found else None


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


def never_null(connection: duckdb.DuckDBPyConnection, name: str) -> frozenset[str]:
    """The columns that a table declares NOT NULL; of a view none."""
    return frozenset(column for column, nullable in _declared(connection, name) if not nullable)


def comment_of(connection: duckdb.DuckDBPyConnection, view: str) -> str:
    """What a view is commented with; empty where it is not, or there is none."""
    schema, name = split_name(view)
    found = connection.execute(
        "SELECT comment FROM duckdb_views() WHERE lower(view_name) = lower($1) AND database_name = current_database() "
        "AND lower(schema_name) = lower(coalesce($2, current_schema()))",
        [name, schema],
    ).fetchall()
    return str(found[0][0] or "") if found else ""


def columns(connection: duckdb.DuckDBPyConnection, name: str) -> frozenset[str]:
    """The names of a table's columns; empty where there is no such table."""
    return frozenset(column for column, _ in _declared(connection, name))


def _declared(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, bool]]:
    """The columns of a table or view, each with whether it may be NULL."""
    schema, table = split_name(name)
    # What information_schema.columns is made of, in less than half the time.
    return connection.execute(
        "SELECT column_name, is_nullable FROM duckdb_columns() WHERE lower(table_name) = lower($1) "
        "AND lower(schema_name) = lower(coalesce($2, current_schema()))",
        [table, schema],
    ).fetchall()


def bucket(columns: list[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[Any]:
    """An integer in `[0, buckets)` that depends on the columns' values alone.

    MD5 rather than hash(): DuckDB does not promise that hash() stays what it is. Its first three bytes, most
    significant first: what a cast of them to an integer gives in T-SQL.
    """
    text = sa.func.concat_ws("|", *(_key_text(column) for column in columns))
    digest = sa.func.md5_number_upper(text)
    first, second, third = (_byte(digest, place) for place in range(3))
    number = first * sa.literal_column("65536") + second * sa.literal_column("256") + third
    return number % sa.literal_column(str(int(buckets)))


def _key_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    text: sa.ColumnElement[Any] = sa.cast(column, sa.String)
    if isinstance(column.type, sa.DateTime) and column.type.timezone:
        # A cast writes it on the clock of this machine's time zone; so, as on one whose zone is UTC.
        at_utc = sa.cast(sa.func.timezone(sa.literal_column("'UTC'"), column), sa.String)
        return sa.case((sa.func.isinf(column), text), else_=at_utc.op("||")(sa.literal_column("'+00'")))
    return text


def _byte(number: sa.ColumnElement[Any], place: int) -> sa.ColumnElement[Any]:
    """Byte `place` of an unsigned number, from the least significant on."""
    shifted = number.bitwise_rshift(sa.literal_column(str(8 * place))) if place else number
    return sa.cast(shifted.bitwise_and(sa.literal_column("255")), sa.Integer)


def exact_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text, or the text of an ENUM, by its code points and without the blanks at its end."""
    text = sa.cast(column, sa.String)
    blank: sa.ColumnElement[str] = sa.literal_column("' '")
    # rtrim() goes through a text character by character: of 3M rows, 0.4 s of CPU time against 0.04 s for those without.
    trimmed = sa.case((sa.func.suffix(text, blank), sa.func.rtrim(text, blank)), else_=text)
    return trimmed.collate("C")


def by_code_point(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text, or the text of an ENUM, without its collation."""
    return sa.cast(column, sa.String).collate("C")


class Nanoseconds(sa.types.UserDefinedType[Any]):
    """TIMESTAMP_NS, as the type of a source's column: casts to other timestamps round, so they may change its day."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TIMESTAMP_NS"


def source_type(arrow: pa.DataType) -> sa.types.TypeEngine[Any] | None:
    """The type of a source's column, where expressions over it depend on one."""
    if not pa.types.is_timestamp(arrow):
        return None
    if arrow.tz is not None:
        return sa.DateTime(timezone=True)
    return Nanoseconds() if arrow.unit == "ns" else None


_QUARTER_NS = 900 * 1_000_000_000


def truncate(column: sa.ColumnElement[Any], unit: str) -> sa.ColumnElement[Any]:
    """A timestamp cut to the `day` or the `quarter_hour`."""
    if isinstance(column.type, Nanoseconds):
        # The number of an infinite one is NULL, and a remainder has the dividend's sign.
        number: sa.ColumnElement[Any] = sa.func.epoch_ns(column)
        quarter: sa.ColumnElement[Any] = sa.literal_column(str(_QUARTER_NS))
        start = sa.func.make_timestamp_ns(number - (number % quarter + quarter) % quarter)
        return sa.case((sa.func.isinf(column), column), else_=start)
    if unit == "day":
        return sa.cast(column, sa.Date)
    return sa.func.time_bucket(sa.literal_column("INTERVAL 15 MINUTE"), column)
