"""Columns that move no prediction: found at the first look, never extracted, and the model answers as with them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.columns_read import Holding

ROWS = np.random.default_rng(4).normal(size=(300, 6)).astype(np.float32)
TARGET = np.where(ROWS[:, 1] > 0, 5.0, ROWS[:, 4])


def tree() -> bytes:
    fitted = make_pipeline(SimpleImputer(), StandardScaler(), DecisionTreeRegressor(max_leaf_nodes=5, random_state=0))
    return bytes(to_onnx(fitted.fit(ROWS, TARGET), ROWS[:1]).SerializeToString())


def graph(nodes: list[Any], inputs: Mapping[str, tuple[int, int]], weights: Mapping[str, Any]) -> bytes:
    """A model of inputs of so many columns, by their element types, with one output `score`."""
    made = helper.make_graph(
        nodes,
        "read",
        [helper.make_tensor_value_info(name, kind, [None, width]) for name, (kind, width) in inputs.items()],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


FLOAT, TEXT = TensorProto.FLOAT, TensorProto.STRING


def read_by(model: OnnxModel, holding: Holding = Holding.ANYTHING) -> dict[str, tuple[int, ...] | None]:
    """By input the columns that move some output; None: all of them."""
    found: dict[str, tuple[int, ...] | None] = {}
    for tensor in model.signature.inputs:
        places = tuple(index for index in range(tensor.width or 1) if model.reads(tensor.name, index, None, holding))
        found[tensor.name] = None if len(places) == (tensor.width or 1) else places
    return found


def test_a_tree_behind_an_imputer_and_a_scaler_reads_what_it_tests() -> None:
    model = OnnxModel.from_bytes(tree())
    assert read_by(model) == {"X": (1, 4)}
    assert [model.reads("X", index) for index in range(3)] == [False, True, False]


def test_what_was_found_is_kept_with_the_model() -> None:
    model = OnnxModel.from_bytes(tree())
    again = OnnxModel.from_description(model.normalised, json.loads(json.dumps(model.describe())))
    assert (again.read_columns, again.operators) == (model.read_columns, model.operators)
    assert set(model.operators) == {"ai.onnx.ml.Imputer", "ai.onnx.ml.Scaler", "ai.onnx.ml.TreeEnsembleRegressor"}


CASES: dict[str, tuple[Callable[[], bytes], dict[str, tuple[int, ...] | None]]] = {
    "picked columns": (
        lambda: graph(
            [helper.make_node("Gather", ["x", "places"], ["score"], axis=1)],
            {"x": (FLOAT, 4)},
            {"places": np.array([2, 0])},
        ),
        {"x": (0, 2)},
    ),
    "picked of what was joined": (
        lambda: graph(
            [
                helper.make_node("Concat", ["x", "y"], ["both"], axis=1),
                helper.make_node("ArrayFeatureExtractor", ["both", "places"], ["score"], domain="ai.onnx.ml"),
            ],
            {"x": (FLOAT, 2), "y": (FLOAT, 3)},
            {"places": np.array([1, 4])},
        ),
        {"x": (1,), "y": (2,)},
    ),
    "a zero weight times NaN is NaN": (
        lambda: graph(
            [helper.make_node("MatMul", ["x", "w"], ["score"])],
            {"x": (FLOAT, 2)},
            {"w": np.array([[1], [0]], np.float32)},
        ),
        {"x": None},
    ),
    "one column spread over others": (
        lambda: graph(
            [
                helper.make_node("Add", ["x", "y"], ["sum"]),
                helper.make_node("Gather", ["sum", "places"], ["score"], axis=1),
            ],
            {"x": (FLOAT, 3), "y": (FLOAT, 1)},
            {"places": np.array([1])},
        ),
        {"x": (1,), "y": None},
    ),
    "a row is picked, and no column": (
        lambda: graph(
            [
                helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
                helper.make_node("Gather", ["turned", "places"], ["row"], axis=0),
                helper.make_node("Transpose", ["row"], ["score"], perm=[1, 0]),
            ],
            {"x": (FLOAT, 3)},
            {"places": np.array([1])},
        ),
        {"x": None},
    ),
    "an input that no node takes": (
        lambda: graph([helper.make_node("Neg", ["x"], ["score"])], {"x": (FLOAT, 2), "word": (TEXT, 1)}, {}),
        {"x": None, "word": ()},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_model_reads(case: str) -> None:
    make, wanted = CASES[case]
    assert read_by(OnnxModel.from_bytes(make())) == wanted


@pytest.mark.parametrize("case", ["tree", "picked columns", "picked of what was joined", "an input that no node takes"])
def test_the_model_answers_without_the_columns_as_with_whatever_stands_in_them(case: str) -> None:
    data = tree() if case == "tree" else CASES[case][0]()
    model = OnnxModel.from_bytes(data)
    generator = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    inputs, columns = [], {}
    for tensor in model.signature.inputs:
        width = tensor.width or 1
        matrix = generator.normal(size=(50, width)).astype(np.float32)
        unread = {index for index in range(width) if not model.reads(tensor.name, index)}
        names = tuple(f"{tensor.name}{index}" for index in range(width))
        inputs.append(InputBinding(tensor, names, frozenset(unread)))
        columns |= {name: matrix[:, index] for index, name in enumerate(names) if index not in unread}
        matrix[:, list(unread)] = generator.choice([np.nan, np.inf, 1e30], (50, len(unread)))
        feeds[tensor.name] = np.full((50, 1), "?", object) if tensor.dtype == "string" else matrix
    binding = Binding(tuple(inputs))
    assert list(binding.columns) == list(columns) and any(bound.unread for bound in inputs)
    (found, *_) = model.scorer(binding)(pa.record_batch(columns))
    (truth, *_) = ort.InferenceSession(data).run(None, feeds)
    np.testing.assert_array_equal(found.to_numpy(), truth[:, 0])
