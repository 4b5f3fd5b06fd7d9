"""A query is its author's text, to the byte, wherever it is put; what only the outside of a statement takes goes there."""

import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.queries import UserQuery
from onnx_pipeline.pools.tsql.dialect import compiled, parameters, readable
from onnx_pipeline.pools.tsql.queries import parts_of
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.pools.query_texts import QUERIES, TEXTS, expected


def spec_of(query, **more):
    return ScoringSpec(name="texts", onnx="m.onnx", source={"query": query}, key=["id"], target="scored", **more)


@pytest.fixture
def texts(sql):
    sql("CREATE TABLE texts (id INTEGER, t VARCHAR, a FLOAT)")
    marks = ", ".join("(?, ?, ?)" for _ in TEXTS)
    sql(
        f"INSERT INTO texts VALUES {marks}",
        [cell for index, text in enumerate(TEXTS) for cell in (index, text, index / 2)],
    )


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("name", QUERIES)
def test_duckdb_scores_what_the_query_says(name, pool, sql, score, weighted_sum):
    query, chosen = QUERIES[name]
    # Numbers of buckets are bound beside the text.
    spec = spec_of(query, partitions={"buckets": 2})
    assert sum(piece.rows for piece in take_inventory(spec, pool, partitioning(spec)).slices.values()) == len(
        expected(chosen)
    )
    score(spec, weighted_sum({"a": 2.0}))
    assert sql("SELECT id, score FROM scored ORDER BY id") == [(index, float(index)) for index in expected(chosen)]
    # For people to read, and to run.
    shown = pool.render(sa.select(pool.source(spec).column("id")).order_by("id"))
    assert [row[0] for row in sql(shown)] == expected(chosen)


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT 1 AS id; SELECT 2 AS id", r"goes on after a semicolon: '; SELECT 2 AS id'. Leave one of them, or CREATE VIEW"),
        (" \n", "the query of texts is empty; write one SELECT"),
        # Values of ours were bound to these, and chose rows.
        ("SELECT id, t FROM texts WHERE id > $1", r"takes a parameter, and nothing fills it: '\$1'. Write the value itself"),
        ("SELECT id, t FROM texts WHERE id=?", r"takes a parameter, and nothing fills it: '\?'"),
        ("SELECT id, t FROM texts WHERE id = $from", r"takes a parameter, and nothing fills it: '\$from'"),
    ],
)  # fmt: skip
def test_duckdb_refuses_what_is_not_one_select(query, says, pool):
    with pytest.raises(SpecError, match=says):
        pool.source(spec_of(query))


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path, pool):
    (tmp_path / "rows.sql").write_bytes(b"\xef\xbb\xbfSELECT 1 AS id, 2 AS a;\r\n")
    spec = ScoringSpec(
        name="texts", onnx="m.onnx", source={"file": "rows.sql"}, key=["id"], target="scored", directory=str(tmp_path)
    )
    with pool.connect("making the file", create=True):
        pass
    assert pool.source(spec).schema.names == ["id", "a"]
    (tmp_path / "rows.sql").write_bytes("SELECT 'ü' AS id".encode("latin-1"))
    with pytest.raises(SpecError, match=r"rows\.sql is not UTF-8 .*; save it as UTF-8"):
        pool.source(spec)


def around(query):
    """A statement of ours with the query in it."""
    source = UserQuery(query).columns(sa.column("id"), sa.column("t")).subquery("source")
    return sa.select(source.c.id).where(source.c.t.in_(["?", "x"]))


@pytest.mark.parametrize("text", TEXTS)
def test_t_sql_gets_the_text_to_the_byte(text):
    query = f"SELECT id, t FROM texts WHERE t = '{text}' /* {text.replace('/', '')} */ -- :end? %s"
    made = compiled(around(query))
    assert str(made) == f"SELECT source.id \nFROM ({query}\n) AS source \nWHERE source.t IN (?, ?)"
    assert parameters(made) == ["?", "x"]
    assert f"({query}\n)" in readable(around(query))


@pytest.mark.parametrize(
    ("query", "common", "body"),
    [
        ("SELECT 1 ; ; -- end", "", "SELECT 1   -- end"),
        (";WITH a AS (SELECT 1 AS x) SELECT x FROM a", "a AS (SELECT 1 AS x)", "SELECT x FROM a"),
        (
            "WITH a(x) AS (SELECT ')' /* ) /* ( */ */), [b]]) SELECT] AS (SELECT 1 y -- )\n) -- both\nSELECT * FROM a, [b]]) SELECT]",
            "a(x) AS (SELECT ')' /* ) /* ( */ */), [b]]) SELECT] AS (SELECT 1 y -- )\n) -- both",
            "SELECT * FROM a, [b]]) SELECT]",
        ),
        ("WITH XMLNAMESPACES ('u' AS n), a AS (SELECT 1 AS x) (SELECT x FROM a)", "XMLNAMESPACES ('u' AS n), a AS (SELECT 1 AS x)", "(SELECT x FROM a)"),
        ("-- first\nSELECT a FROM t order /* by */ by a desc", "", "-- first\nSELECT a FROM t "),
        ("SELECT a FROM t FOR SYSTEM_TIME ALL ORDER BY a;", "", "SELECT a FROM t FOR SYSTEM_TIME ALL "),
        ("SELECT a FROM t UNION SELECT a FROM u ORDER BY a", "", "SELECT a FROM t UNION SELECT a FROM u "),
        ("SELECT TOP (3) a FROM t ORDER BY a", "", "SELECT TOP (3) a FROM t ORDER BY a"),
        ("SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY", "", "SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY"),
        ("SELECT (SELECT TOP 1 a FROM t ORDER BY a) AS a ORDER BY 1", "", "SELECT (SELECT TOP 1 a FROM t ORDER BY a) AS a "),
        ("SELECT [order], 'ORDER BY x' AS y FROM t -- ORDER BY z", "", "SELECT [order], 'ORDER BY x' AS y FROM t -- ORDER BY z"),
    ],
)  # fmt: skip
def test_t_sql_takes_a_query_in_two(query, common, body):
    parts = parts_of(query)
    assert (parts.common, parts.body) == (common, body)


def test_a_with_stands_before_whatever_statement_the_query_is_in():
    query = "WITH a AS (SELECT id, t FROM texts) -- all\nSELECT id, t FROM a"
    select = around(query)
    assert str(compiled(select)).startswith(
        "WITH a AS (SELECT id, t FROM texts) -- all\nSELECT source.id \nFROM (SELECT id, t FROM a\n)"
    )
    insert = sa.insert(sa.table("landed", sa.column("id"))).from_select(["id"], select)
    assert str(compiled(insert)).startswith(
        "WITH a AS (SELECT id, t FROM texts) -- all\nINSERT INTO landed (id) SELECT"
    )
    ours = select.cte("ours")
    both = str(compiled(sa.select(ours.c.id)))
    assert both.startswith("WITH a AS (SELECT id, t FROM texts) -- all\n, ours AS \n(SELECT source.id")
    assert both.count("WITH") == 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("DECLARE @d DATE = '2026-01-01'; SELECT 1", "begins with 'DECLARE'. Leave out what stands before the SELECT, or CREATE VIEW"),
        ("SELECT 1; SELECT 2", "goes on after a semicolon: '; SELECT 2'. Leave one of them, or CREATE VIEW"),
        ("SELECT a FROM t OPTION (MAXDOP 1)", r"'OPTION \(MAXDOP 1\)'. Leave the OPTION clause out"),
        ("WITH a AS (SELECT 1 AS x)", "no SELECT follows the WITH of the query"),
        ("SELECT a FROM t WHERE b > @P1", "takes a parameter, and nothing fills it: '@P1'. Write the value itself"),
        ("SELECT a FROM (SELECT a FROM t WHERE b = ?) AS u", r"takes a parameter, and nothing fills it: '\?\) AS u'"),
        ("SELECT 'x", "a quote in the query is never closed"),
        ("SELECT 1 /* /* */", "a comment in the query is never closed"),
        ("-- nothing", "begins with ''"),
    ],
)  # fmt: skip
def test_t_sql_refuses_what_fits_in_no_statement(query, says):
    with pytest.raises(SpecError, match=says):
        compiled(around(query))


@pytest.mark.parametrize(
    ("query", "body"),
    [
        # An order of all of them, which no TOP of one makes decide: a server refuses it within a statement (Msg 1033).
        ("SELECT TOP 5 a FROM t UNION ALL SELECT a FROM u ORDER BY a", "SELECT TOP 5 a FROM t UNION ALL SELECT a FROM u "),
        ("SELECT a FROM t EXCEPT SELECT TOP 5 a FROM u ORDER BY a", "SELECT a FROM t EXCEPT SELECT TOP 5 a FROM u "),
        ("SELECT TOP 5 a FROM t ORDER BY a", "SELECT TOP 5 a FROM t ORDER BY a"),
        ("SELECT a FROM t UNION SELECT a FROM u ORDER BY a OFFSET 1 ROWS", "SELECT a FROM t UNION SELECT a FROM u ORDER BY a OFFSET 1 ROWS"),
        ("SELECT @@SPID AS a, '@x ?' AS b, [@y] AS c FROM t -- ? @z", "SELECT @@SPID AS a, '@x ?' AS b, [@y] AS c FROM t -- ? @z"),
    ],
)  # fmt: skip
def test_an_order_stays_where_it_decides(query, body):
    assert parts_of(query).body == body
