"""Columns of weight zero: left out where they hold numbers, read where they may be missing or infinite, by the graph."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnx_pipeline.models.columns_read import BOUND, Holding
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline_tests.engines.sql.oracle import read

FLOAT, DOUBLE, HALF, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64
ROWS = np.random.default_rng(4).normal(size=(200, 4)).astype(np.float32)
SCORE = 3 * ROWS[:, 0] - ROWS[:, 2]

NUMBERS, KNOWN = Holding.NUMBERS, Holding.KNOWN_NUMBERS
ALL = (0, 1, 2, 3)


def sklearn(*steps: Any, target: Any = SCORE) -> bytes:
    fitted = make_pipeline(*steps).fit(ROWS, target)
    return bytes(
        to_onnx(fitted, ROWS[:1], options={"zipmap": False} if target is not SCORE else None).SerializeToString()
    )


def network() -> bytes:
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        fitted = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=5, random_state=0)).fit(ROWS, SCORE > 0)
    fitted[-1].coefs_[0][[1, 3]] = 0
    return bytes(to_onnx(fitted, ROWS[:1], options={"zipmap": False}).SerializeToString())


def graph(
    nodes: list[Any], kind: int = FLOAT, width: int = 4, outputs: tuple[str, ...] = ("score",), **weights: Any
) -> bytes:
    """A model over `x`."""
    made = helper.make_graph(
        nodes,
        "weighed",
        [helper.make_tensor_value_info("x", kind, [None, width])],
        [helper.make_tensor_value_info(name, FLOAT, [None, None]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


def node(op_type: str, inputs: str, output: str = "score", **attributes: Any) -> Any:
    domain = (
        "ai.onnx.ml" if op_type in ("Scaler", "Imputer", "LinearRegressor", "OneHotEncoder", "SVMRegressor") else ""
    )
    return helper.make_node(op_type, inputs.split(), [output], domain=domain, **attributes)


W = np.array([[1, 2], [0, 0], [0, 3], [0, 0]], np.float32)
ONE = np.array([[1], [0], [2], [0]], np.float32)

CASES: dict[str, tuple[Callable[[], bytes], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    # What is read whatever the columns hold, where they hold numbers or nothing, and where they hold numbers.
    "Lasso behind a scaler": (lambda: sklearn(StandardScaler(), Lasso(0.5)), ALL, ALL, (0, 2)),
    "Lasso behind an imputer": (lambda: sklearn(SimpleImputer(), StandardScaler(), Lasso(0.5)), ALL, (0, 2), (0, 2)),
    "LogisticRegression of three classes": (
        lambda: sklearn(LogisticRegression(C=0.05, l1_ratio=1, solver="saga"), target=np.digitize(SCORE, [-1, 1])),
        ALL,
        ALL,
        (0, 2),
    ),
    "the first layer of a network": (network, ALL, ALL, (0, 2)),
    "MatMul": (lambda: graph([node("MatMul", "x w")], w=W), ALL, ALL, (0, 2)),
    "of MatMul what is picked behind it": (
        lambda: graph([node("MatMul", "x w", "m"), node("Gather", "m p", axis=1)], w=W, p=np.array([0])), ALL, ALL, (0,),
    ),
    "Gemm as PyTorch writes it": (lambda: graph([node("Gemm", "x w b", transB=1)], w=W.T, b=np.ones(2, np.float32)), ALL, ALL, (0, 2)),
    "Mul by zeros": (lambda: graph([node("Mul", "w x")], w=W[:, 1:].T), ALL, ALL, (0, 2)),
    "a Scaler of zeros": (lambda: graph([node("Scaler", "x", offset=[1.0, 2, 3, 4], scale=[1.0, 0, 2, 0])]), ALL, ALL, (0, 2)),
    "a Scaler that makes them infinite": (
        lambda: graph([node("Scaler", "x", "y", offset=[0.0] * 4, scale=[1e30, 1e30, 1, 1]), node("MatMul", "y w")], w=ONE),
        ALL,
        ALL,
        (0, 1, 2),
    ),
    "a step that may overflow": (lambda: graph([node("Exp", "x", "y"), node("MatMul", "y w")], w=ONE), ALL, ALL, ALL),
    "a root of what may be negative": (lambda: graph([node("Sqrt", "x", "y"), node("MatMul", "y w")], w=ONE), ALL, ALL, ALL),
    "over a column": (lambda: graph([node("Div", "c x", "y"), node("MatMul", "y w")], c=np.ones(1, np.float32), w=ONE), ALL, ALL, ALL),
    "two columns in one": (
        lambda: graph([node("Gather", "x p", "z", axis=1), node("Mul", "x z", "y"), node("MatMul", "y w")], p=np.array([3, 2, 1, 0]), w=ONE),
        ALL,
        ALL,
        ALL,
    ),
    "constants on the way": (
        lambda: graph(
            [node("Sub", "x c", "y"), node("Div", "y d", "z"), node("Clip", "z lo hi", "v"), node("MatMul", "v w")],
            c=np.ones((1, 4), np.float32), d=np.float32(3), lo=np.float32(-9), hi=np.float32(9), w=ONE,
        ),
        ALL, ALL, ALL,  # of Clip nothing is known
    ),
    "an Add and a Div by constants": (
        lambda: graph([node("Add", "c x", "y"), node("Div", "y d", "z"), node("MatMul", "z w")], c=np.ones(4, np.float32), d=np.float32(3), w=ONE),
        ALL, ALL, (0, 2),
    ),
    "division by zero": (
        lambda: graph([node("Div", "x d", "z"), node("MatMul", "z w")], d=np.array([1, 0, 1, 1], np.float32), w=ONE), ALL, ALL, ALL,
    ),
    "an infinite weight beside": (lambda: graph([node("MatMul", "x w")], w=np.where(ONE == 2, np.inf, ONE).astype(np.float32)), ALL, ALL, (0, 2)),
    "a weight that is not a number": (lambda: graph([node("MatMul", "x w")], w=np.where(ONE == 0, np.nan, ONE).astype(np.float32)), ALL, ALL, ALL),
    "whole numbers, which are never missing": (
        lambda: graph([node("Cast", "x", "f", to=FLOAT), node("MatMul", "f w")], INT64, w=ONE), ALL, (0, 2), (0, 2),
    ),
    "through half precision": (
        lambda: graph([node("Cast", "x", "h", to=HALF), node("Cast", "h", "f", to=FLOAT), node("MatMul", "f w")], w=ONE), ALL, ALL, ALL,
    ),
    "read elsewhere": (
        lambda: graph([node("MatMul", "x w", "m"), node("Gather", "x p", "g", axis=1), node("Concat", "m g", axis=1)], w=ONE, p=np.array([3])),
        ALL, ALL, (0, 2, 3),
    ),
    "an operator of somebody's own": (
        lambda: graph([node("MatMul", "x w", "m"), helper.make_node("Gelu", ["m"], ["score"], domain="com.microsoft")], w=ONE), ALL, ALL, (0, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_by_what_the_columns_hold(case: str) -> None:
    make, *wanted = CASES[case]
    model = read(make())
    for holding, columns in zip(Holding, wanted, strict=True):
        assert tuple(k for k in range(4) if model.reads(model.signature.inputs[0].name, k, None, holding)) == columns, (
            holding
        )


@pytest.mark.parametrize("case", CASES)
def test_onnx_runtime_answers_as_with_zeros_in_their_place(case: str) -> None:
    data, generator = CASES[case][0](), np.random.default_rng(8)
    model, session = read(data), ort.InferenceSession(data)
    (tensor,) = model.signature.inputs
    kind = np.int64 if tensor.dtype == "int64" else np.float32
    for holding in Holding:
        matrix = ROWS.astype(kind).copy()
        unread = [k for k in range(4) if not model.reads(tensor.name, k, None, holding)]
        values: list[Any] = [0, 1, -1, 7, -(2**63), 2**63 - 1]
        if holding is not KNOWN and kind is np.float32:
            values.append(np.nan)
        matrix[:, unread] = generator.choice(np.array(values, kind), (len(ROWS), len(unread)))
        assert np.nanmax(np.abs(matrix.astype(np.float64))) <= BOUND
        bare = matrix.copy()
        bare[:, unread] = 0
        for found, truth in zip(*(session.run(None, {tensor.name: each}) for each in (bare, matrix)), strict=True):
            np.testing.assert_array_equal(found, truth)


TWO_HEADS = [node("Gather", "x p", "a", axis=1), node("Gather", "x q", "b", axis=1)]
PLACES = {"p": np.array([0, 1]), "q": np.array([1, 2])}


def moving(data: bytes, *outputs: str) -> tuple[int, ...]:
    model = read(data)
    wanted = [column for column in output_columns(model.signature) if column.output in outputs]
    return tuple(k for k in range(4) if model.reads("x", k, wanted))


def test_what_moves_only_an_output_that_is_left_out_is_not_read() -> None:
    data = graph(TWO_HEADS, outputs=("a", "b"), **PLACES)
    assert moving(data, "a", "b") == (0, 1, 2)
    assert moving(data, "a") == (0, 1)
    assert moving(data, "b") == (1, 2)


def test_what_may_refuse_a_number_reads_it_for_every_output_since_all_of_the_graph_is_computed() -> None:
    encoder = node("OneHotEncoder", "b", "hot", cats_int64s=[5, 6], zeros=0)
    by_category = graph(
        [*TWO_HEADS, encoder, node("ReduceSum", "hot axes", "sum", keepdims=0)],
        outputs=("a", "sum"), axes=np.array([2]), **PLACES,
    )  # fmt: skip
    assert moving(by_category, "a") == (0, 1, 2)
    divided = graph([*TWO_HEADS, node("Div", "a b", "ratio")], outputs=("a", "ratio"), **PLACES)
    assert moving(divided, "a") == (0, 1, 2)
    with pytest.raises(Exception, match="Unknown Category"):
        ort.InferenceSession(by_category).run(["a"], {"x": np.zeros((1, 4), np.float32)})
