"""Expressions that a server would refuse for their size are cut into what it takes."""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.dialects.tsql import TsqlDialect
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.passes.size import operands_of, within
from onnx_pipeline.engines.sql.passes.steps import Limits
from onnx_pipeline.engines.sql.rendering import Template, select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.pools.duckdb.statements import readable
from onnx_pipeline_tests.engines.sql.oracle import by_runtime, compiled

COLUMNS = [algebra.column(f"c{place}", Kind.DOUBLE) for place in range(40)]


def product(place: int) -> Expression:
    return algebra.multiply(COLUMNS[place], algebra.double(place + 0.5))


def sizes(outputs: list[Expression], stored: frozenset[Expression]) -> list[int]:
    """Operands of each output and each stored expression, where what is stored counts as one."""

    def count(each: Expression, *, root: bool) -> int:
        if not each.args or (each in stored and not root):
            return 1
        return sum(count(arg, root=False) for arg in each.args)

    return [count(each, root=True) for each in {*outputs, *stored}]


def test_what_is_small_enough_stays_as_it_is():
    sum_ = algebra.total([product(place) for place in range(40)])
    assert operands_of(sum_) == 80
    assert within([sum_], 80) == ([sum_], frozenset())


@pytest.mark.parametrize("most", [7, 16, 79])
def test_a_sum_is_cut_into_sums(most):
    terms = [product(place) for place in range(40)]
    (cut,), stored = within([algebra.total(terms)], most)
    assert stored
    assert max(sizes([cut], stored)) <= most
    assert {each for each in in_order([cut]) if each.op == "multiply"} == set(terms)


def test_a_tree_is_cut_at_its_largest_branches():
    def tree(depth: int, place: int = 0) -> Expression:
        if depth == 0:
            return algebra.double(place)
        test = conditions.at_most(COLUMNS[place % 40], algebra.double(place))
        return conditions.case([(test, tree(depth - 1, 2 * place + 1))], tree(depth - 1, 2 * place + 2))

    (cut,), stored = within([tree(8)], 100)
    assert stored
    assert max(sizes([cut], stored)) <= 100


def test_what_several_outputs_share_is_stored_once():
    shared = algebra.function("exp", algebra.total([product(place) for place in range(40)]))
    outputs, stored = within([algebra.add(shared, shared), algebra.multiply(shared, shared)], 100)
    assert stored == {shared}
    assert max(sizes(outputs, stored)) <= 100


def test_statements_over_tables_of_what_the_one_before_gave_give_the_same_answers(monkeypatch):
    monkeypatch.setattr(DuckDBDialect, "limits", Limits(depth=60, cases=60, operands=60))
    random = np.random.default_rng(5)
    rows = random.normal(size=(400, 4)).astype(np.float32)
    forest = RandomForestRegressor(6, max_depth=5, random_state=2).fit(rows, rows[:, 0] * rows[:, 1])
    model = OnnxModel.from_bytes(to_onnx(forest, rows[:1]).SerializeToString())
    names = list("abcd")
    program = compiled(model, names)
    source = sa.table("source", sa.column("row", sa.BigInteger), *(sa.column(name, sa.REAL) for name in names))
    template = Template(program.outputs, source, DuckDBDialect(), keep=["row"])
    with pytest.raises(NotCompilableError, match="columns and constants, and this database takes 60"):
        select(program.outputs, source, DuckDBDialect())
    table = pa.table({"row": range(400), **{name: rows[:, place] for place, name in enumerate(names)}})
    with duckdb.connect() as connection:
        connection.register("source", table)
        for number, part in enumerate(template.parts):
            statement = part(source)
            connection.execute(f"CREATE TABLE part_{number} AS {readable(statement)}")
            source = sa.table(f"part_{number}", *(sa.column(c.key, c.type) for c in statement.selected_columns))
        (found,) = connection.sql(f"SELECT list(variable ORDER BY row) FROM part_{number}").fetchall()
    wanted = by_runtime(model, {"X": rows})["variable"].to_pylist()
    assert number > 1
    assert found[0] == pytest.approx(wanted, rel=1e-5)


def shared_squares(count: int) -> dict[str, Expression]:
    """Two sums over the same values, so that each of them is a column of a step."""
    terms = [
        algebra.function("exp", algebra.multiply(COLUMNS[place % 40], algebra.double(place + 0.5)))
        for place in range(count)
    ]
    scaled = [algebra.multiply(term, algebra.double(2.0)) for term in terms]
    return {"a": algebra.total(terms), "b": algebra.total(scaled)}


def test_more_columns_than_a_select_has_are_refused(monkeypatch):
    monkeypatch.setattr(TsqlDialect, "limits", replace(TsqlDialect.limits, columns=120))
    source = sa.table("t", *(sa.column(each.value) for each in COLUMNS))
    assert select(shared_squares(80), source, TsqlDialect()) is not None
    with pytest.raises(NotCompilableError, match="a SELECT of the model would have 130 columns.* takes 120"):
        select(shared_squares(130), source, TsqlDialect())


def test_more_columns_than_a_table_between_two_statements_has_are_refused(monkeypatch):
    monkeypatch.setattr(TsqlDialect, "limits", replace(TsqlDialect.limits, operands=60, stored_columns=30))
    source = sa.table("t", *(sa.column(each.value) for each in COLUMNS))
    with pytest.raises(NotCompilableError, match=r"a table between two statements .* and this database takes 30"):
        Template(shared_squares(200), source, TsqlDialect())
