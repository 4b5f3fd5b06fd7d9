"""scikit-learn's estimators of trees give by SQL what ONNX Runtime gives, on rows around the thresholds too."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from skl2onnx import to_onnx
from sklearn import ensemble, tree

from onnx_pipeline_tests.engines.sql.oracle import check

# skl2onnx hands protobuf numpy's uint8 for whether missing values go left.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

random = np.random.default_rng(7)
ROWS = random.normal(size=(400, 4)).astype(np.float32).round(2)
NUMBERS = ROWS[:, 0] ** 2 + ROWS[:, 1]
TWO = (NUMBERS > 0.8).astype(int)
THREE = np.digitize(NUMBERS, [0.3, 1.2])
WORDS = np.array(["low", "Low ", "high"])[THREE]
HOLED = np.where(random.random(ROWS.shape) < 0.1, np.nan, ROWS).astype(np.float32)
FEW = {"n_estimators": 10, "max_depth": 4, "random_state": 0}

CASES = {
    "tree": (tree.DecisionTreeRegressor(max_depth=4), ROWS, NUMBERS),
    "tree of several targets": (
        tree.DecisionTreeRegressor(max_depth=4),
        ROWS,
        np.column_stack([NUMBERS, ROWS[:, 2], -NUMBERS]),
    ),
    "forest": (ensemble.RandomForestRegressor(**FEW), ROWS, NUMBERS),
    "forest of several targets": (ensemble.RandomForestRegressor(**FEW), ROWS, np.column_stack([NUMBERS, ROWS[:, 2]])),
    "extra trees": (ensemble.ExtraTreesRegressor(**FEW), ROWS, NUMBERS),
    "boosting": (ensemble.GradientBoostingRegressor(**FEW), ROWS, NUMBERS),
    "histogram boosting": (ensemble.HistGradientBoostingRegressor(max_iter=4), HOLED, NUMBERS),
    **{
        f"{name}, {classes}": (estimator, rows, target)
        for classes, target in (("two", TWO), ("three", THREE), ("words", WORDS))
        for name, estimator, rows in (
            ("tree", tree.DecisionTreeClassifier(max_depth=4), ROWS),
            ("full tree", tree.ExtraTreeClassifier(random_state=0), ROWS),
            ("forest", ensemble.RandomForestClassifier(**FEW), ROWS),
            ("full forest", ensemble.RandomForestClassifier(10, random_state=0), ROWS[:60]),
            ("extra trees", ensemble.ExtraTreesClassifier(**FEW), ROWS),
            ("boosting", ensemble.GradientBoostingClassifier(**FEW), ROWS),
            ("histogram boosting", ensemble.HistGradientBoostingClassifier(max_iter=4), HOLED),
        )
    },
}


@pytest.mark.parametrize("name", CASES)
def test_estimators(name):
    estimator, rows, target = CASES[name]
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    model = to_onnx(estimator.fit(rows, target[: len(rows)]), rows[:1], options=options)
    check(model.SerializeToString(), _with_neighbours(model, rows))


def _with_neighbours(model, rows):
    """The rows, and rows with the thresholds of each column, and with the float32 numbers beside them."""
    columns = [[] for _ in range(rows.shape[1])]
    for node in model.graph.node:
        held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        tests = zip(held.get("nodes_featureids", []), _values(held), held.get("nodes_modes", []), strict=True)
        for feature, threshold, mode in tests:
            if mode != b"LEAF":
                columns[feature].append(np.float32(threshold))
    edges = np.tile(rows[:200], (3, 1))
    for place, found in enumerate(columns):
        if found:
            chosen = np.resize(np.array(found, np.float32), 200)
            below, above = (np.nextafter(chosen, np.float32(side)) for side in (-np.inf, np.inf))
            edges[:, place] = np.concatenate([chosen, below, above])[: len(edges)]
    holes = np.where(np.random.default_rng(1).random(rows.shape) < 0.2, np.nan, rows).astype(np.float32)
    return np.vstack([edges, holes])


def _values(held):
    precise = held.get("nodes_values_as_tensor")
    return held.get("nodes_values", []) if precise is None else numpy_helper.to_array(precise)
