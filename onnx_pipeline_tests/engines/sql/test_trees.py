"""Trees as CASE give the leaves that ONNX Runtime gives."""

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline_tests.engines.sql.oracle import check


@pytest.mark.parametrize(
    "estimator",
    [DecisionTreeRegressor(max_depth=4), DecisionTreeRegressor(max_depth=30), RandomForestRegressor(10, max_depth=6)],
)
def test_regression_trees(estimator):
    random = np.random.default_rng(7)
    rows = random.normal(size=(2000, 5)).astype(np.float32)
    estimator.fit(rows[:500], rows[:500, 0] ** 2 + rows[:500, 1])
    check(to_onnx(estimator, rows[:1]).SerializeToString(), rows)
