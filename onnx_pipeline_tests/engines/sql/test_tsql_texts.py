"""What T-SQL compares of texts, read back from the statement: no code page and no length takes part in the answer."""

import pytest
import sqlalchemy as sa
import sqlglot
from sqlglot import exp

from onnx_pipeline.engines.sql.dialects import dialect_of
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline_tests.engines.sql.graphs import graph
from onnx_pipeline_tests.engines.sql.oracle import compiled, read
from onnx_pipeline_tests.engines.sql.single import matrix, single

CATEGORIES = ["a", "Москва", "日本"]


def statement(data: bytes, kind: str, columns: list[str] | dict[str, list[str]]) -> exp.Expression:
    dialect = dialect_of(kind)
    names = columns if isinstance(columns, list) else [name for each in columns.values() for name in each]
    source = sa.table("t", *(sa.column(name) for name in names))
    text = select(compiled(read(data), columns).outputs, source, dialect).compile(
        dialect=dialect.renders_by, compile_kwargs={"literal_binds": True}
    )
    return sqlglot.parse_one(str(text), read="tsql")


def encoder(categories: list[str]) -> bytes:
    width = len(categories)
    return single(
        "OneHotEncoder", {"x": matrix("s", 1)}, {"y": matrix("f", width)}, flattened=True, cats_strings=categories
    )


def types_compared(parsed: exp.Expression) -> list[str]:
    """The type in which each column stands in a comparison; `as it is` where nothing says one."""
    found = []
    for equals in parsed.find_all(exp.EQ):
        for column in equals.find_all(exp.Column):
            cast = column.find_ancestor(exp.Cast, exp.EQ)
            found.append(cast.to.sql("tsql") if isinstance(cast, exp.Cast) else "as it is")
    return found


@pytest.mark.parametrize("kind", ["mssql", "synapse"])
def test_a_varchar_of_any_code_page_is_unicode_before_it_gets_the_collation(kind):
    assert types_compared(statement(encoder(CATEGORIES), kind, ["word"])) == ["NVARCHAR(4000)"] * len(CATEGORIES)


def test_the_utf8_of_fabric_is_compared_as_it_is():
    assert types_compared(statement(encoder(CATEGORIES), "fabric", ["word"])) == ["as it is"] * len(CATEGORIES)


def test_a_text_is_not_cut_where_what_is_cut_off_decides():
    assert types_compared(statement(encoder(["x" * 5000]), "mssql", ["word"])) == ["NVARCHAR(MAX)"]
    both = graph(
        "a = Gather <axis = 1> (x, first) b = Gather <axis = 1> (x, second) y = Equal (a, b)",
        inputs="string[N,2] x",
        outputs="bool[N,1] y",
        constants="int64[1] first = {0}, int64[1] second = {1}",
        opset=19,
    )
    assert set(types_compared(statement(both, "mssql", ["p", "q"]))) == {"NVARCHAR(MAX)"}


CHOICES = {
    "by a condition": "c = Gather <axis = 1> (z, first) d = Gather <axis = 1> (z, second) n = Greater (c, d) y = Where (n, a, b)",
    "by a place": "i = ArgMax <axis = 1> (z) y = GatherElements <axis = 1> (x, i)",
}


@pytest.mark.parametrize("kind", ["mssql", "synapse", "fabric"])
@pytest.mark.parametrize("body", CHOICES.values(), ids=CHOICES)
def test_a_text_of_one_column_or_another_has_a_collation_whatever_theirs(body, kind):
    split = "a = Gather <axis = 1> (x, first) b = Gather <axis = 1> (x, second) "
    data = graph(
        split + body,
        inputs="string[N,2] x, float[N,2] z",
        outputs="string[N,1] y",
        constants="int64[1] first = {0}, int64[1] second = {1}",
    )
    columns = {"x": ["p", "q"], "z": ["r", "s"]}
    chosen = [
        value
        for case in statement(data, kind, columns).find_all(exp.Case)
        for value in [*(each.args["true"] for each in case.args["ifs"]), case.args["default"]]
        if not value.find(exp.Literal)
    ]
    assert chosen
    assert {type(value) for value in chosen} == {exp.Collate}
    assert len({str(value.expression).casefold() for value in chosen}) == 1
