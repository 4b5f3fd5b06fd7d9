"""SQLAlchemy's statements as texts for DuckDB: each is run by DuckDB, and its answer compared."""

import datetime
import subprocess
import sys
import uuid

import duckdb
import pytest
import sqlalchemy as sa

from onnx_pipeline.pools.duckdb.statements import compiled, execute, readable, rows, scalar

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)


@pytest.mark.parametrize(
    ("type_", "value", "stored"),
    [
        (sa.DateTime(), AT, "TIMESTAMP"),
        (sa.DateTime(timezone=True), AT.replace(tzinfo=datetime.timezone.utc), "TIMESTAMP WITH TIME ZONE"),
        (sa.Date(), AT.date(), "DATE"),
        (sa.Time(), AT.time(), "TIME"),
        (sa.Boolean(), True, "BOOLEAN"),
        (sa.Double(), 1e300, "DOUBLE"),
        (sa.REAL(), 0.5, "FLOAT"),
        (sa.SmallInteger(), -3, "SMALLINT"),
        (sa.BigInteger(), 2**62, "BIGINT"),
        (sa.String(), "ü'\\%", "VARCHAR"),
        (sa.LargeBinary(), b"\x00\xff", "BLOB"),
        (sa.Uuid(), uuid.UUID(int=7), "UUID"),
        (sa.ARRAY(sa.Integer()), [1, 2], "INTEGER[]"),
        (sa.ARRAY(sa.Integer(), dimensions=2), [[1], [2]], "INTEGER[][]"),
    ],
    ids=lambda value: repr(value) if isinstance(value, sa.types.TypeEngine) else "",
)
def test_a_type_is_stored_as_duckdb_calls_it(type_: sa.types.TypeEngine[object], value: object, stored: str) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("order", type_))
    with duckdb.connect() as connection:
        execute(connection, sa.schema.CreateTable(table))
        execute(connection, sa.insert(table).values({"order": value}))
        ((kind,),) = connection.execute('SELECT typeof("order") FROM t').fetchall()
        assert (kind, scalar(connection, sa.select(table.c.order))) == (stored, value)


def test_names_are_quoted_whatever_they_are() -> None:
    names = ["select", "at", "qualify", 'a"b', "with blank", "plain"]
    table = sa.Table("order by", sa.MetaData(), *(sa.Column(name, sa.Integer) for name in names), schema="main")
    with duckdb.connect() as connection:
        execute(connection, sa.schema.CreateTable(table))
        execute(connection, sa.insert(table).values(dict.fromkeys(names, 1)))
        assert rows(connection, sa.select(table)) == [(1,) * len(names)]


def test_a_change_by_another_table_and_a_list_without_members() -> None:
    kept = sa.Table("kept", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("value", sa.Integer))
    fresh = kept.to_metadata(sa.MetaData(), name="fresh")
    with duckdb.connect() as connection:
        for table, values in ((kept, [(1, 1), (2, 2), (3, 3)]), (fresh, [(2, 20)])):
            execute(connection, sa.schema.CreateTable(table))
            execute(connection, sa.insert(table).values(values))
        execute(connection, sa.update(kept).values(value=fresh.c.value).where(kept.c.id == fresh.c.id))
        assert rows(connection, sa.select(kept).order_by("id")) == [(1, 1), (2, 20), (3, 3)]
        execute(connection, sa.delete(kept).where(kept.c.value == fresh.c.value))
        assert rows(connection, sa.select(kept.c.id).order_by("id")) == [(1,), (3,)]
        assert rows(connection, sa.select(kept.c.id).where(kept.c.id.in_([]))) == []
        assert len(rows(connection, sa.select(kept.c.id).where(kept.c.id.not_in([])))) == 2


def test_a_value_that_cannot_be_cast_is_null_where_that_was_asked_for() -> None:
    texts = sa.values(sa.column("text", sa.String), name="texts").data([("7",), ("seven",)])
    with duckdb.connect() as connection:
        assert rows(connection, sa.select(sa.try_cast(texts.c.text, sa.Integer))) == [(7,), (None,)]
        with pytest.raises(duckdb.ConversionException):
            rows(connection, sa.select(sa.cast(texts.c.text, sa.Integer)))


def test_numbers_are_divided_and_not_cut() -> None:
    value = sa.literal(7, sa.Integer)
    with duckdb.connect() as connection:
        assert rows(connection, sa.select(value / 2, value % 4)) == [(3.5, 3)]


def test_a_statement_for_people_runs_as_it_is_written() -> None:
    """A percent sign was doubled in it."""
    statement = sa.select(sa.literal("50%\\'").label("share")).where(sa.literal("a%b").like("a\\%b", escape="\\"))
    with duckdb.connect() as connection:
        assert connection.execute(readable(statement)).fetchall() == [("50%\\'",)]
        assert rows(connection, statement) == [("50%\\'",)]


def test_values_are_bound() -> None:
    made = compiled(sa.select(sa.literal("a'; DROP TABLE t")))
    assert "DROP" not in str(made) and list(made.params.values()) == ["a'; DROP TABLE t"]


def test_nothing_of_other_databases_is_imported_for_it() -> None:
    """Dialects of PostgreSQL, and what comes with them, took a tenth of a second of every command."""
    code = "import sys, onnx_pipeline.pools.duckdb.pool; print(*(n for n in sys.modules if 'postgres' in n or 'mssql' in n))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
