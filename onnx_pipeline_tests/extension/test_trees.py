"""Ensembles of trees, which the extension computes by itself: the same sums as ONNX Runtime's, to the last bit."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline_tests.engines.sql import ensembles
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import FLOAT, INT, REAL
from onnx_pipeline_tests.extension.host import Extension
from onnx_pipeline_tests.extension.test_linear import check, scored

EXPORTED = Path(ensembles.__file__).parent / "exported"
FEATURES = 5
ROWS = 9000
RANDOM = np.random.default_rng(15)
MATRIX = RANDOM.normal(size=(ROWS, FEATURES)).astype(np.float32)
SCORE = MATRIX[:, 0] * 2 + np.abs(MATRIX[:, 1]) + MATRIX[:, 2] * MATRIX[:, 3]
INFINITY = float("inf")


def fitted(made: Any, classes: int = 0) -> bytes:
    """On `classes` classes, or as a regression."""
    from skl2onnx import to_onnx

    target = np.digitize(SCORE, np.linspace(-1, 2, classes - 1)) if classes else SCORE
    options = {"zipmap": False} if classes else None
    made.fit(MATRIX, target)
    with warnings.catch_warnings():
        # skl2onnx writes NumPy's booleans as integers, which protobuf warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        return bytes(to_onnx(made, MATRIX[:1], options=options).SerializeToString())


def prepared(made: Any, classes: int) -> bytes:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return fitted(make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), made), classes)


def tree(classes: int) -> bytes:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    return fitted(kind(max_depth=8, random_state=0), classes)


def forest(classes: int, depth: int | None = 6) -> bytes:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if classes else RandomForestRegressor
    return fitted(kind(20, max_depth=depth, random_state=0), classes)


def boosted(classes: int, *, with_missing: bool = False) -> bytes:
    from sklearn import ensemble

    kind = f"{'Hist' if with_missing else ''}GradientBoosting{'Classifier' if classes else 'Regressor'}"
    size = {"max_iter": 20} if with_missing else {"n_estimators": 20}
    return fitted(getattr(ensemble, kind)(random_state=0, **size), classes)


def prepared_tree(classes: int) -> bytes:
    from sklearn.tree import DecisionTreeClassifier

    return prepared(DecisionTreeClassifier(max_depth=6, random_state=0), classes)


MODELS: dict[str, Callable[[], bytes]] = {
    "tree": lambda: tree(0), "tree of two classes": lambda: tree(2), "tree of three classes": lambda: tree(3),
    "prepared tree of two classes": lambda: prepared_tree(2), "prepared tree of four": lambda: prepared_tree(4),
    "forest": lambda: forest(0), "forest of two classes": lambda: forest(2), "forest of three classes": lambda: forest(3),
    "forest grown to the end": lambda: forest(0, None),
    "boosted": lambda: boosted(0), "boosted of two classes": lambda: boosted(2), "boosted of three": lambda: boosted(3),
    "with missing": lambda: boosted(0, with_missing=True), "two classes with missing": lambda: boosted(2, with_missing=True),
    "three classes with missing": lambda: boosted(3, with_missing=True),
}  # fmt: skip


def at_thresholds(model: bytes, rows: int) -> Any:
    """Rows of the model's own thresholds and of the floats beside them, some missing or infinite."""
    graph = onnx.load_from_string(model).graph
    (node,) = (each for each in graph.node if each.op_type.startswith("TreeEnsemble"))
    held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    random = np.random.default_rng(2)
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    matrix = np.zeros((rows, width), np.float32)
    thresholds = np.array(held["nodes_values"], np.float32)
    tests = np.array([mode != b"LEAF" for mode in held["nodes_modes"]])
    for feature in range(width):
        own = thresholds[tests & (np.array(held["nodes_featureids"]) == feature)]
        column = random.choice(own, rows) if len(own) else np.zeros(rows, np.float32)
        way = random.integers(0, 3, rows)
        beside = np.nextafter(column, np.where(way == 1, np.float32(-np.inf), np.float32(np.inf)))
        matrix[:, feature] = np.where(way == 0, column, beside)
    odd = random.random(matrix.shape)
    matrix[odd < 0.05] = np.nan
    matrix[odd > 0.98], matrix[odd > 0.99] = np.inf, -np.inf
    return matrix


def lists_of(matrix: Any) -> list[list[Any]]:
    """The columns, with NULL in place of NaN."""
    return [[None if value != value else value for value in column] for column in matrix.T.tolist()]


def same_as_onnx_runtime(extension: Extension, model: bytes, matrix: Any, *, exact: bool = False) -> None:
    name = onnx.load_from_string(model).graph.input[0].name
    truth = models.truth(model, {name: matrix})
    answers = scored(extension, model, [REAL] * matrix.shape[1], lists_of(matrix))
    if exact:
        assert answers == models.columns_of(truth)
    else:
        check(answers, truth)


@pytest.mark.parametrize("nulls", [0.0, 0.1, 1.0], ids=["none", "some", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_onnx_runtime(extension: Extension, name: str, nulls: float) -> None:
    holes = np.random.default_rng(1).random(MATRIX.shape) < nulls
    holes[:, 2] = False  # some columns have lengths and some have none, side by side
    same_as_onnx_runtime(extension, MODELS[name](), np.where(holes, np.float32("nan"), MATRIX))


@pytest.mark.parametrize("name", [name for name in MODELS if "prepared" not in name])
def test_rows_on_thresholds_go_the_same_way(extension: Extension, name: str) -> None:
    model = MODELS[name]()
    same_as_onnx_runtime(extension, model, at_thresholds(model, ROWS))


@pytest.mark.parametrize("path", sorted(EXPORTED.glob("*.onnx")), ids=lambda path: path.stem)
def test_models_of_other_libraries_answer_the_same(extension: Extension, path: Path) -> None:
    from onnx_pipeline.models.normalise import normalise

    model = normalise(path.read_bytes(), source=path.name).data
    same_as_onnx_runtime(extension, model, at_thresholds(model, 500))


def test_sums_are_the_same_to_the_last_bit(extension: Extension) -> None:
    for model in (forest(0), forest(3), boosted(0)):
        same_as_onnx_runtime(extension, model, MATRIX, exact=True)


def test_it_is_the_extension_that_computes(extension: Extension) -> None:
    """Probabilities differ in their last bits, by the exponential; ONNX Runtime's own would not."""
    model = boosted(2)
    answers = scored(extension, model, [REAL] * FEATURES, MATRIX.T.tolist())
    expected = models.columns_of(models.truth(model, {"X": MATRIX}))
    assert answers[0] == expected[0] and answers[1] != expected[1]


TINY = float(np.nextafter(np.float32(0), np.float32(1)))
VALUES = np.array([-INFINITY, -1, -TINY, -0.0, 0.0, TINY, 1, 1.5, 2, 3e38, INFINITY, np.nan], np.float32)


def beside_zeros(values: Any) -> Any:
    """Two columns: a single one would have to be called as the input is."""
    return np.stack([values, np.zeros_like(values)], axis=1)


@pytest.mark.parametrize("tracks", [False, True], ids=["missing is false", "missing is true"])
@pytest.mark.parametrize("mode", ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"])
def test_each_kind_of_test_parts_rows_the_same_way(extension: Extension, mode: str, tracks: bool) -> None:
    for threshold in (0.0, -0.0, 1.5, TINY, 3e38, INFINITY):
        stump = ensembles.stump(threshold, (1, 2), mode=f"BRANCH_{mode}", tracks=tracks)
        # Alone all tests are of one kind, which ONNX Runtime has code of its own for; with another it is mixed.
        for trees in (
            [stump],
            [stump, ensembles.stump(1.0, (10, 20), mode="BRANCH_LEQ" if mode != "LEQ" else "BRANCH_GT")],
        ):
            same_as_onnx_runtime(extension, ensembles.regressor(trees, columns=2), beside_zeros(VALUES), exact=True)


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
NUMBERS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 7.0])


def grown(targets: int, modes: list[str], whole: bool) -> st.SearchStrategy[Any]:
    """A tree of two features, each of whose leaves speaks of all targets, or of some."""
    every = st.tuples(*(NUMBERS for _ in range(targets))).map(lambda weights: list(enumerate(weights)))
    some = st.dictionaries(st.integers(0, targets - 1), NUMBERS, min_size=1).map(lambda held: sorted(held.items()))
    return st.recursive(
        every if whole else some,
        lambda below: st.tuples(st.integers(0, 1), st.sampled_from(modes), NUMBERS, below, below, st.booleans()),
        max_leaves=12,
    )


@settings(deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(data=st.data())
def test_any_ensemble_answers_as_onnx_runtime_does(extension: Extension, data: st.DataObject) -> None:
    """Whatever has a rule of its own in ONNX Runtime is followed, or left to it."""
    count = data.draw(st.integers(1, 4))
    modes = data.draw(st.sampled_from([["BRANCH_LEQ"], ["BRANCH_LT"], ["BRANCH_EQ", "BRANCH_LEQ"], MODES]))
    trees = data.draw(st.lists(grown(count, modes, data.draw(st.booleans())), min_size=1, max_size=5))
    if not any(isinstance(each, tuple) for each in trees):
        trees.append(ensembles.stump(0.0, *[(1, 2)] * count))
    base = data.draw(st.sampled_from([0, 1, count]))
    more: dict[str, Any] = {
        "post_transform": data.draw(st.sampled_from(["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]))
    }
    if base and not (count > 1 and base == 1):
        more["base_values"] = [data.draw(NUMBERS) for _ in range(base)]
    if count > 1 and data.draw(st.booleans()):
        model = ensembles.classifier(trees, [3, 5, 4, 9][:count], columns=2, **more)
    else:
        more["aggregate_function"] = data.draw(st.sampled_from(["SUM", "AVERAGE", "MIN", "MAX"]))
        model = ensembles.regressor(trees, columns=2, targets=count, **more)
    values = np.array([-3, -1, -0.5, 0, 0.25, 0.5, 1, 2, 7, 8, np.nan], np.float32)
    matrix = np.array(np.meshgrid(values, values)).reshape(2, -1).T
    try:
        models.truth(model, {"X": matrix})
    except Exception:  # noqa: BLE001 - a model that ONNX Runtime does not take
        return
    same_as_onnx_runtime(extension, model, np.ascontiguousarray(matrix))


def test_columns_of_other_types_and_stand_ins_go_the_same_way(extension: Extension) -> None:
    model = boosted(2, with_missing=True)
    matrix = MATRIX.copy()
    matrix[:, 1] = np.rint(matrix[:, 1] * 3)
    columns: list[list[Any]] = matrix.T.tolist()
    columns[1] = [int(value) for value in columns[1]]
    columns[0][::7] = [None] * len(columns[0][::7])
    matrix[::7, 0] = 1.5
    columns[2][::5] = [None] * len(columns[2][::5])
    matrix[::5, 2] = np.nan
    answers = scored(extension, model, [REAL, INT, FLOAT, REAL, REAL], columns, script="null.c0 = 1.5")
    check(answers, models.truth(model, {"X": matrix}))


@pytest.mark.parametrize("rows", [1, 7, 255, 256, 257, 2047, 2049])
def test_any_number_of_rows_is_scored(extension: Extension, rows: int) -> None:
    same_as_onnx_runtime(extension, tree(3), np.resize(MATRIX, (rows, FEATURES)))


def test_no_rows_give_no_rows(extension: Extension) -> None:
    assert scored(extension, tree(3), [REAL] * FEATURES, [[]] * FEATURES) == [[]] * 4


def test_text_labels_are_left_to_onnx_runtime(extension: Extension) -> None:
    model = ensembles.classifier([ensembles.stump(0.0, (0, 1), (1, 0))], ["no", "yes"], columns=2)
    same_as_onnx_runtime(extension, model, beside_zeros(VALUES), exact=True)


def test_a_long_chain_of_tests_is_walked_to_its_end(extension: Extension) -> None:
    """Of 300 tests, which no stack of calls should be needed for."""
    chain: Any = [(0, 300.0)]
    for step in reversed(range(300)):
        chain = (0, "BRANCH_LT", float(step), [(0, float(step))], chain)
    matrix = beside_zeros(np.arange(-2, 302, 0.5, np.float32))
    same_as_onnx_runtime(extension, ensembles.regressor([chain], columns=2), matrix, exact=True)
