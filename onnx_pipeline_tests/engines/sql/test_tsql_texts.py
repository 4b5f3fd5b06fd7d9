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


def statement(data: bytes, kind: str, columns: list[str]) -> exp.Expression:
    dialect = dialect_of(kind)
    source = sa.table("t", *(sa.column(name) for name in columns))
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
