"""Large ensembles stay within what databases nest, and give the right answers."""

import re

import numpy as np
import pytest
import sqlalchemy as sa
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor, ExtraTreeClassifier

from onnx_pipeline.engines.sql.dialects.tsql import TsqlDialect
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline_tests.engines.sql.ensembles import regressor
from onnx_pipeline_tests.engines.sql.oracle import check, compiled, read

NESTING = 10
"""https://learn.microsoft.com/sql/t-sql/language-elements/case-transact-sql"""
NAMES = ["a", "b", "c"]

random = np.random.default_rng(7)
ROWS = random.normal(size=(1500, 3)).astype(np.float32)
NUMBERS = np.sin(ROWS[:, 0] * 3) + ROWS[:, 1] * ROWS[:, 2] + random.normal(size=1500) * 0.1


def _chain(length):
    """Each "true" a test again: 1, 2, 3, ... leaves in a row."""
    tree = [(0, float(length))]
    for place in reversed(range(length)):
        tree = (place % 3, "BRANCH_LEQ", 2 - place / length, tree, [(0, float(place))])
    return tree


def _full(depth, number=0):
    """2^depth leaves."""
    if not depth:
        return [(0, float(number))]
    sides = (_full(depth - 1, 2 * number), _full(depth - 1, 2 * number + 1))
    return (depth % 3, "BRANCH_LEQ", (number * 37 % 11) / 5 - 1, *sides)


MODELS = {
    "a full tree of depth 11": lambda: regressor([_full(11)], columns=3),
    "a tree of depth 30": lambda: _exported(DecisionTreeRegressor(max_depth=30, random_state=0), NUMBERS),
    "a chain of 200 tests": lambda: regressor([_chain(200)], columns=3),
    "500 boosted trees": lambda: _exported(GradientBoostingRegressor(n_estimators=500, max_depth=2), NUMBERS),
    "leaves looked up": lambda: _exported(ExtraTreeClassifier(random_state=0), np.digitize(NUMBERS, [-0.5, 0.2, 1])),
}


def _exported(estimator, target):
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    return to_onnx(estimator.fit(ROWS[:600], target[:600]), ROWS[:1], options=options).SerializeToString()


@pytest.mark.parametrize("name", MODELS)
def test_nesting_ends_before_the_tenth_case_and_the_answers_are_right(name):
    data = MODELS[name]()
    source = sa.table("rows", *(sa.column(each, sa.REAL()) for each in NAMES))
    dialect = TsqlDialect()
    statement = select(compiled(read(data), NAMES).outputs, source, dialect)
    text = str(statement.compile(dialect=dialect.renders_by, compile_kwargs={"literal_binds": True}))
    assert 1 <= _nesting(text) <= NESTING
    check(data, ROWS[600:900], NAMES)


def _nesting(text):
    """CASE within CASE, derived tables counted in, though they are queries of their own."""
    deepest = depth = 0
    for word in re.findall(r"\bCASE\b|\bEND\b", text):
        depth += 1 if word == "CASE" else -1
        deepest = max(deepest, depth)
    assert depth == 0
    return deepest
