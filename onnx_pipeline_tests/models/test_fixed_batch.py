"""A batch that the exporter fixed, against plain ONNX Runtime called with exactly that many rows."""

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.models import OnnxModel

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
NAMES = list("abcd")


def columns_of(rows):
    return pa.table({name: np.ascontiguousarray(rows[:, index]) for index, name in enumerate(NAMES)})


def block_by_block(plain_run, data, rows, batch):
    """The original's answers, its last block filled up with zeros."""
    filled = np.concatenate([rows, np.zeros((-len(rows) % batch, rows.shape[1]), rows.dtype)])
    parts = [plain_run(data, {"x": filled[start : start + batch]})["y"] for start in range(0, len(filled), batch)]
    return np.concatenate(parts)[: len(rows)]


def network(make_model, batch):
    weights = {
        "w": np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32),
        "b": np.float32([0.1, -0.1]),
    }
    nodes = [make_node("Gemm", ["x", "w", "b"], ["h"]), make_node("Sigmoid", ["h"], ["y"])]
    return make_model(nodes, [("x", FLOAT, [batch, 4])], [("y", FLOAT, [batch, 2])], weights)


@pytest.mark.parametrize("batch", [1, 64])
def test_a_row_by_row_network_gets_a_dynamic_batch_and_the_same_answers(rows, make_model, plain_run, batch):
    data = network(make_model, batch)
    model = OnnxModel.from_bytes(data)
    assert model.fixed_batch is None
    assert "made dynamic: equal answers" in model.changes[0]
    scored = model.score(columns_of(rows), features=NAMES)
    truth = block_by_block(plain_run, data, rows, batch)
    np.testing.assert_allclose(np.column_stack(scored.columns), truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 2, 2), (64, -1, 2)])
def test_a_reshape_to_the_fixed_batch_is_freed_too(rows, make_model, plain_run, shape):
    nodes = [
        make_node("Reshape", ["x", "shape"], ["pairs"]),
        make_node("ReduceSum", ["pairs", "axis"], ["y"], keepdims=0),
    ]
    data = make_model(
        nodes,
        [("x", FLOAT, [64, 4])],
        [("y", FLOAT, [64, 2])],
        {"shape": np.int64(shape), "axis": np.int64([2])},
    )
    model = OnnxModel.from_bytes(data)
    assert model.fixed_batch is None
    scored = np.column_stack(model.score(columns_of(rows), features=NAMES).columns)
    np.testing.assert_allclose(scored, block_by_block(plain_run, data, rows, 64), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 300])
def test_a_graph_that_holds_for_its_batch_alone_keeps_it_and_is_padded(rows, make_model, plain_run, count):
    # One bias per position in the block: the batch cannot change, and each row is answered by itself all the
    # same.
    weights = {"bias": np.full((64, 4), 0.5, np.float32)}
    data = make_model(
        [make_node("Add", ["x", "bias"], ["y"])], [("x", FLOAT, [64, 4])], [("y", FLOAT, [64, 4])], weights
    )
    model = OnnxModel.from_bytes(data)
    assert model.fixed_batch == 64
    assert model.signature.inputs[0].shape == (None, 4)
    assert "the batch of 64 stays fixed" in model.changes[0]
    scored = np.column_stack(model.score(columns_of(rows[:count]), features=NAMES).columns)
    np.testing.assert_array_equal(scored, block_by_block(plain_run, data, rows[:count], 64))


def test_a_symbolic_batch_that_would_change_answers_is_not_taken(rows, make_model, plain_run):
    # With a batch of 1 the sum over axis 0 is the row itself; over more rows it is not.
    nodes = [make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)]
    data = make_model(nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])], {"axis": np.int64([0])})
    model = OnnxModel.from_bytes(data)
    assert model.form == "one row at a time"
    scored = np.column_stack(model.score(columns_of(rows), features=NAMES).columns)
    np.testing.assert_array_equal(scored, block_by_block(plain_run, data, rows, 1))


def test_a_difference_that_only_nan_shows_keeps_the_batch(make_model):
    # ReduceMax over the batch, times zero: nothing, unless another row holds NaN or an infinity.
    nodes = [
        make_node("ReduceMax", ["x"], ["most"], axes=[0], keepdims=1),
        make_node("Mul", ["most", "zero"], ["nothing"]),
        make_node("Add", ["x", "nothing"], ["y"]),
    ]
    data = make_model(nodes, [("x", FLOAT, [1, 2])], [("y", FLOAT, [1, 2])], {"zero": np.float32([0])})
    assert OnnxModel.from_bytes(data).form == "one row at a time"


def test_a_block_whose_rows_look_at_each_other_is_an_error(make_model):
    nodes = [
        make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        make_node("Sub", ["x", "mean"], ["y"]),
    ]
    data = make_model(nodes, [("x", FLOAT, [64, 4])], [("y", FLOAT, [64, 4])])
    with pytest.raises(UnsupportedModelError, match="its answer for a row depends on the rows beside it"):
        OnnxModel.from_bytes(data)


def test_inputs_that_take_different_numbers_of_rows_are_an_error(make_model):
    inputs = [("x", FLOAT, [2, 1]), ("z", FLOAT, [3, 1])]
    data = make_model([make_node("Concat", ["x", "z"], ["y"], axis=0)], inputs, [("y", FLOAT, [5, 1])])
    with pytest.raises(UnsupportedModelError, match=r"different numbers of rows \(x 2, z 3\)"):
        OnnxModel.from_bytes(data)


def test_padding_repeats_a_row_that_the_model_takes(make_model):
    # An embedding by a bias per position that refuses what it does not know: a blank or a zero would be
    # refused.
    nodes = [
        make_node(
            "LabelEncoder",
            ["ward"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["er", "icu"],
            values_int64s=[0, 1],
            default_int64=99,
        ),
        make_node("Gather", ["table", "code"], ["picked"]),
        make_node("Add", ["picked", "bias"], ["y"]),
    ]
    weights = {"table": np.float32([10, 20]), "bias": np.zeros(8, np.float32)}
    data = make_model(nodes, [("ward", STRING, [8])], [("y", FLOAT, [8])], weights)
    model = OnnxModel.from_bytes(data)
    assert model.fixed_batch == 8
    scored = model.score(pa.table({"ward": ["icu", "er"] * 5}))
    assert scored["y"].to_pylist() == [20, 10] * 5
