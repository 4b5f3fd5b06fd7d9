"""Long sums are cut into steps, which changes no bit of what they give."""

from functools import reduce

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.passes.steps import Limits, in_steps
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline_tests.engines.sql.oracle import check, compiled, read

NAMES = [f"c{place}" for place in range(40)]
COLUMNS = [algebra.column(name, Kind.FLOAT, missing=False) for name in NAMES]


def additions(each: Expression, names: dict[Expression, str]) -> int:
    if each.op != "add":
        return 0
    return 1 + max((additions(arg, names) for arg in each.args if arg not in names), default=0)


def test_no_sum_has_more_additions_one_after_the_other():
    whole = reduce(algebra.add, COLUMNS)
    program = in_steps([whole], Limits(depth=60, cases=60, additions=12))
    written = [each for step in program.steps for each in step.values()] + list(program.outputs)
    assert len(program.steps) == 3
    assert max(additions(each, program.names) for each in written) == 12
    assert not in_steps([whole], Limits(depth=60, cases=60)).steps


def test_a_sum_in_steps_is_the_sum_in_order_of_float32():
    rows = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    source = sa.table("t", *(sa.column(name, sa.REAL()) for name in NAMES))
    dialect = DuckDBDialect()
    text = str(select({"whole": reduce(algebra.add, COLUMNS)}, source, dialect).compile(dialect=dialect.renders_by))
    assert "step_3" in text
    with duckdb.connect() as connection:
        connection.register("t", pa.table({name: rows[:, place] for place, name in enumerate(NAMES)}))
        found = connection.execute(text).fetchnumpy()["whole"]
    np.testing.assert_array_equal(found, reduce(np.add, rows.T))


def test_the_second_of_two_mirrored_scores_is_no_second_sum():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(300, 5)).astype(np.float32)
    estimator = LogisticRegression().fit(matrix, (matrix[:, 0] + random.normal(size=300) > 0).astype(np.int64))
    model = to_onnx(estimator, matrix[:1], options={"zipmap": False}).SerializeToString()
    check(model, matrix)
    expressions = list(in_order(list(compiled(read(model), NAMES[:5]).outputs.values())))
    assert sum(each.op == "multiply" for each in expressions) == 5
