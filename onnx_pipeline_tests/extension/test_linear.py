"""Linear models, which the extension computes by itself: the same labels as ONNX Runtime's, and numbers within 1e-5."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import BIT, FLOAT, INT, REAL, SMALLINT, Kind
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError

FEATURES = 9
ROWS = 9000
"""More than are scored together, 8,192, and no multiple of a register's."""
RANDOM = np.random.default_rng(14)
MATRIX = RANDOM.normal(size=(ROWS, FEATURES)).astype(np.float32)
WEIGHTS = RANDOM.normal(size=(FEATURES, 3)).astype(np.float32)


def fitted(made: Any, classes: int, *, regression: bool = False) -> bytes:
    from skl2onnx import to_onnx

    score = MATRIX @ WEIGHTS[:, 0] + RANDOM.normal(size=ROWS)
    target = score if regression else np.digitize(score, np.linspace(-2, 2, classes - 1))
    options = None if regression else {"zipmap": False}
    return bytes(to_onnx(made.fit(MATRIX, target), MATRIX[:1], options=options).SerializeToString())


def logistic(classes: int) -> bytes:
    from sklearn.linear_model import LogisticRegression

    return fitted(LogisticRegression(), classes)


def prepared(classes: int) -> bytes:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return fitted(make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()), classes)


def regression() -> bytes:
    from sklearn.linear_model import LinearRegression

    return fitted(LinearRegression(), 0, regression=True)


def nodes(*kinds: str, width: int = 3) -> bytes:
    """A layer as networks have it."""
    names = ["X", *(f"v{place}" for place in range(len(kinds) - 1)), "y"]
    weights: dict[str, Any] = {"w": WEIGHTS[:, :width], "b": np.arange(width, dtype=np.float32) / 3}
    more = {"Gemm": ["w", "b"], "MatMul": ["w"], "Add": ["b"]}
    made = [
        helper.make_node(kind, [source, *more.get(kind, [])], [target])
        for kind, source, target in zip(kinds, names, names[1:], strict=False)
    ]
    return models.build(made, [("X", models.FLOAT, [None, FEATURES])], [("y", models.FLOAT, [None, width])], weights)


def normalised(norm: str) -> bytes:
    """Shares of three classes, which scikit-learn's export divides by their sum."""
    model = onnx.load_from_string(logistic(3))
    (node,) = (node for node in model.graph.node if node.op_type == "Normalizer")
    (attribute,) = (item for item in node.attribute if item.name == "norm")
    assert attribute.s == b"L1"
    attribute.s = norm.encode()
    return bytes(model.SerializeToString())


MODELS: dict[str, Callable[[], bytes]] = {
    "binary": lambda: logistic(2), "three classes": lambda: logistic(3), "binary, prepared": lambda: prepared(2),
    "four classes, prepared": lambda: prepared(4), "regression": regression, "Gemm": lambda: nodes("Gemm"),
    "Gemm, Sigmoid": lambda: nodes("Gemm", "Sigmoid", width=1), "MatMul, Add": lambda: nodes("MatMul", "Add"),
    "MatMul, Softmax": lambda: nodes("MatMul", "Softmax"), "Identity": lambda: nodes("Identity", "Gemm", "Identity"),
    "sixteen classes": lambda: logistic(16), "seventeen classes": lambda: logistic(17),
    "divided by the greatest": lambda: normalised("MAX"), "not one": lambda: nodes("Gemm", "Relu"),
}  # fmt: skip


def scored(extension: Extension, model: bytes, kinds: list[Kind], columns: list[list[Any]], **more: Any) -> Any:
    described = [Column(f"c{place}", kind, nullable=None in column) for place, (kind, column) in
                 enumerate(zip(kinds, columns, strict=True))]  # fmt: skip
    with extension.session(described, model, **more) as session:
        return [column.values for column in session.execute(columns)]


def check(answers: list[list[Any]], truth: dict[str, Any]) -> None:
    expected = models.columns_of(truth)
    assert len(answers) == len(expected)
    for ours, theirs in zip(answers, expected, strict=True):
        if isinstance(theirs[0], int):
            assert ours == theirs
            continue
        assert [value is None for value in ours] == [value is None for value in theirs]
        np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("nulls", [0.0, 0.1, 1.0], ids=["none", "some", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_onnx_runtime(extension: Extension, name: str, nulls: float) -> None:
    model = MODELS[name]()
    holes = np.random.default_rng(1).random(MATRIX.shape) < nulls
    holes[:, 3:6] = False  # some columns have lengths and some have none, side by side
    matrix = np.where(holes, np.float32("nan"), MATRIX)
    columns = [[None if hole else value for value, hole in zip(column.tolist(), gone, strict=True)]
               for column, gone in zip(MATRIX.T, holes.T, strict=True)]  # fmt: skip
    check(scored(extension, model, [REAL] * FEATURES, columns), models.truth(model, {"X": matrix}))


@pytest.mark.parametrize("classes", [2, 3, 16])
def test_it_is_the_extension_that_computes(extension: Extension, classes: int) -> None:
    """Probabilities differ in their last bits, by the exponential; ONNX Runtime's own would not."""
    model = logistic(classes)
    answers = scored(extension, model, [REAL] * FEATURES, MATRIX.T.tolist())
    expected = models.columns_of(models.truth(model, {"X": MATRIX}))
    assert answers[0] == expected[0] and answers[1] != expected[1]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_rows_between_two_classes_get_the_same_label(extension: Extension, classes: int) -> None:
    """Moved to where probabilities are equal but for rounding, so that any other order of sums shows."""
    model = logistic(classes)
    (node,) = (node for node in onnx.load_from_string(model).graph.node if node.op_type == "LinearClassifier")
    found = {item.name: np.array(helper.get_attribute_value(item)) for item in node.attribute}
    weights, intercepts = found["coefficients"].reshape(classes, FEATURES), found["intercepts"]
    slope, gap = weights[1] - weights[0], MATRIX @ (weights[1] - weights[0]) + intercepts[1] - intercepts[0]
    matrix = (MATRIX - (gap / (slope @ slope))[:, None] * slope).astype(np.float32)
    truth = models.truth(model, {"X": matrix})
    close = np.abs(truth["probabilities"][:, 1] - truth["probabilities"][:, 0]) < 1e-6
    assert close.sum() > ROWS / 2
    assert all((truth["label"][close] == label).sum() > ROWS / 20 for label in (0, 1))
    check(scored(extension, model, [REAL] * FEATURES, matrix.T.tolist()), truth)


def test_columns_of_other_types_and_stand_ins_go_the_same_way(extension: Extension) -> None:
    model = prepared(2)
    kinds = [REAL, INT, FLOAT, SMALLINT, BIT, REAL, FLOAT, INT, REAL]
    matrix = np.where(np.isin(np.arange(FEATURES), [1, 3, 7]), np.rint(MATRIX * 3), MATRIX)
    matrix[:, 4] = matrix[:, 4] > 0
    columns: list[list[Any]] = matrix.astype(np.float32).T.tolist()
    for place in (1, 3, 4, 7):
        columns[place] = [int(value) for value in columns[place]]
    for place, stand_in in ((0, 1.5), (1, 7.0), (6, -2.0)):
        columns[place][::7] = [None] * len(columns[place][::7])
        matrix[::7, place] = stand_in
    columns[2][::5] = [None] * len(columns[2][::5])
    matrix[::5, 2] = np.nan
    answers = scored(extension, model, kinds, columns, script="null.c0 = 1.5\nnull.c1 = 7\nnull.c6 = -2")
    check(answers, models.truth(model, {"X": matrix.astype(np.float32)}))


def test_what_a_model_refuses_it_refuses_here_too(extension: Extension) -> None:
    columns: list[list[Any]] = MATRIX[:50].T.tolist()
    columns[2][40] = None
    with pytest.raises(ExtensionError, match="'c2'.*row 41: the value is NULL or NaN"):
        scored(extension, logistic(2), [REAL] * FEATURES, columns, script="nulls = error")
    columns[2][40] = 1e300
    with pytest.raises(ExtensionError, match=r"'c2'.*row 41: 1e\+300 is out of the range"):
        scored(extension, logistic(2), [REAL] * 2 + [FLOAT] + [REAL] * 6, columns)


def test_infinity_is_what_onnx_runtime_makes_of_it(extension: Extension) -> None:
    matrix = MATRIX[:60].copy()
    matrix[::4, 0], matrix[1::4, 1] = np.inf, -np.inf
    matrix[::8, 2] = -np.inf
    matrix[5] = 3e38
    for model in (logistic(2), prepared(2), nodes("Gemm", "Sigmoid", width=1)):
        check(scored(extension, model, [REAL] * FEATURES, matrix.T.tolist()), models.truth(model, {"X": matrix}))


def test_outputs_may_be_chosen_and_no_rows_may_come(extension: Extension) -> None:
    model = logistic(3)
    truth = models.truth(model, {"X": MATRIX})["probabilities"][:, 1]
    described = [Column(f"c{place}", REAL) for place in range(FEATURES)]
    with extension.session(described, model, "outputs = probabilities[1]") as session:
        assert session.execute([[]] * FEATURES)[0].values == []
        (chosen,) = session.execute(MATRIX.T.tolist())
        np.testing.assert_allclose(chosen.values, truth, atol=1e-5)
