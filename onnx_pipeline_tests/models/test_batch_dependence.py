"""Answers that depend on the batch: refused by the node's name, or run so that they do not; the truth is plain
ONNX Runtime, one row at a time."""

import json

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.models.batch_dependence import structural_causes
from onnx_pipeline.models.batch_dependence.verdict import Cause

FLOAT, INT64, INT8, STRING, FLOAT16 = (
    TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT8, TensorProto.STRING, TensorProto.FLOAT16,
)  # fmt: skip
NAMES = list("abcd")
W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def columns_of(rows):
    return pa.table({name: np.ascontiguousarray(rows[:, index]) for index, name in enumerate(NAMES)})


def one_by_one(data, rows, feed="x", output=0):
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([np.atleast_1d(session.run(None, {feed: row[None]})[output]) for row in rows])


def scored(model, rows, **more):
    return np.column_stack(model.score(columns_of(rows), features=NAMES, **more).columns)


def loads(make_model, nodes, weights=None, *, opset=17, outputs=None, rank=2):
    shape = {1: ["N"], 2: ["N", None]}[rank]
    return make_model(nodes, [("x", FLOAT, ["N", 4])], outputs or [("y", FLOAT, shape)], weights, opset=opset)


def node(kind, inputs, outputs, **attributes):
    return make_node(kind, inputs, outputs, name=f"the {kind}", **attributes)


def body(nodes, inputs, outputs, weights=None):
    return helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )


AXIS = {"axis": np.int64([0])}
CODES = {"scale": np.float32(0.03), "zero": np.uint8(128), "fine": np.float32(1 / 256), "least": np.uint8(0)}


def branch(turn):
    """Two such branches name their tensors alike, and only one of them works over the batch."""
    return body(
        [make_node(turn, ["x"], ["t"]), make_node("Softmax", ["t"], ["s"], axis=1), make_node(turn, ["s"], ["b"])],
        [], [("b", FLOAT, None)],
    )  # fmt: skip


BN = {name: np.float32(values) for name, values in {"s": [1] * 4, "b": [0] * 4, "m": [0] * 4, "v": [1] * 4}.items()}
RECURRENT = {"w": np.zeros((1, 3, 4), np.float32), "r": np.ones((1, 3, 3), np.float32)}

MIXING = {
    "softmax": ([node("Softmax", ["x"], ["y"], axis=0)], {}, 17, "Softmax over axis 0"),
    "softmax by coercion": ([node("Softmax", ["x"], ["y"], axis=0)], {}, 11, "Softmax over axis 0"),
    "hardmax": ([node("Hardmax", ["x"], ["y"], axis=-2)], {}, 13, "Hardmax over axis 0"),
    "mean": ([node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), make_node("Sub", ["x", "m"], ["y"])], {}, 17,
             "ReduceMean over axis 0"),
    "mean by an input": ([node("ReduceMean", ["x", "axis"], ["m"]), make_node("Sub", ["x", "m"], ["y"])], AXIS, 18,
                         "ReduceMean over axis 0"),
    "maximum of everything": ([node("ReduceMax", ["x"], ["m"]), make_node("Div", ["x", "m"], ["y"])], {}, 17,
                              "ReduceMax over axis 0"),
    "maximum that hardly ever matters": (
        [node("ReduceMax", ["x"], ["m"]), make_node("Greater", ["m", "huge"], ["c"]), make_node("Neg", ["x"], ["n"]),
         make_node("Where", ["c", "n", "x"], ["y"])], {"huge": np.float32(3e38)}, 17, "ReduceMax over axis 0"),
    "cumulative sum": ([node("CumSum", ["x", "axis"], ["y"])], {"axis": np.int64(0)}, 17, "CumSum over axis 0"),
    "in training": ([node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "rm", "rv"], training_mode=1)], BN, 17,
                    "BatchNormalization over axis 0"),
    "transposed": ([make_node("Transpose", ["x"], ["t"]), node("Softmax", ["t"], ["s"], axis=1),
                    make_node("Transpose", ["s"], ["y"])], {}, 17, "Softmax over axis 1"),
    "between other axes": ([make_node("Unsqueeze", ["x", "axis"], ["u"]), node("Softmax", ["u"], ["s"], axis=1),
                            make_node("Squeeze", ["s", "axis"], ["y"])], AXIS, 17, "Softmax over axis 1"),
    "flat": ([make_node("Reshape", ["x", "flat"], ["f"]), node("Softmax", ["f"], ["s"], axis=0),
              make_node("Reshape", ["s", "back"], ["y"])],
             {"flat": np.int64([-1]), "back": np.int64([-1, 4])}, 17, "Softmax over axis 0"),
    "norm": ([node("LpNormalization", ["x"], ["y"], axis=0)], {}, 17, "LpNormalization over axis 0"),
    "best of the batch": ([node("TopK", ["x", "k"], ["best", "_"], axis=0), make_node("Sub", ["x", "best"], ["y"])],
                          {"k": np.int64([1])}, 17, "TopK over axis 0"),
    "covariance": ([make_node("Transpose", ["x"], ["t"]), node("MatMul", ["t", "x"], ["c"]),
                    make_node("MatMul", ["x", "c"], ["y"])], {}, 17, "MatMul over axis 1"),
    "gram by einsum": ([node("Einsum", ["x", "x"], ["c"], equation="ij,ik->jk"), make_node("MatMul", ["x", "c"], ["y"])],
                       {}, 17, "Einsum over axis 0"),
    "attention between rows": ([make_node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["a"]),
                                make_node("Softmax", ["a"], ["p"], axis=1), make_node("MatMul", ["p", "x"], ["y"])],
                               {}, 17, "MatMul over axis 0"),
    "rows as a sequence": ([make_node("Unsqueeze", ["x", "one"], ["u"]), node("RNN", ["u", "w", "r"], ["h"], hidden_size=3),
                            make_node("Reshape", ["h", "back"], ["y"])],
                           {**RECURRENT, "one": np.int64([1]), "back": np.int64([-1, 3])}, 17, "RNN over axis 0"),
    "in a branch": ([make_node("If", ["yes"], ["y"], name="choice",
                               then_branch=body([node("Softmax", ["x"], ["t"], axis=0)], [], [("t", FLOAT, None)]),
                               else_branch=body([make_node("Relu", ["x"], ["e"])], [], [("e", FLOAT, None)]))],
                    {"yes": np.bool_(True)}, 17, "Softmax over axis 0"),
    "carried from row to row": (
        [node("Scan", ["start", "x"], ["_", "y"], num_scan_inputs=1,
              body=body([make_node("Add", ["sum", "row"], ["next"]), make_node("Identity", ["next"], ["out"])],
                        [("sum", FLOAT, [4]), ("row", FLOAT, [4])], [("next", FLOAT, [4]), ("out", FLOAT, [4])]))],
        {"start": np.zeros(4, np.float32)}, 17, "Scan over axis 0"),
    "gram by an einsum that leaves the result out": (
        [node("Einsum", ["x", "x"], ["c"], equation="ij,ik"), make_node("MatMul", ["x", "c"], ["y"])], {}, 17,
        "Einsum over axis 0"),
    "sums of columns by an einsum of any axes": (
        [node("Einsum", ["x", "w"], ["s"], equation="i...,...k->k"), make_node("Einsum", ["x", "s"], ["y"], equation="ij,k->ik")],
        {"w": W}, 17, "Einsum over axis 0"),
    "gram by a fused product": (
        [node("FusedMatMul", ["x", "x"], ["c"], domain="com.microsoft", transA=1), make_node("MatMul", ["x", "c"], ["y"])],
        {}, 17, "FusedMatMul over axis 1"),
    "gram of codes": (
        [make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]), make_node("Transpose", ["q"], ["t"]),
         node("QLinearMatMul", ["q", "scale", "zero", "t", "scale", "zero", "scale", "zero"], ["m"]),
         make_node("QLinearMatMul", ["m", "scale", "zero", "q", "scale", "zero", "scale", "zero"], ["o"]),
         make_node("DequantizeLinear", ["o", "scale", "zero"], ["y"])], CODES, 17, "QLinearMatMul over axis 0"),
    "softmax of codes": (
        [make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
         node("QLinearSoftmax", ["q", "scale", "zero", "fine", "least"], ["s"], domain="com.microsoft", axis=0, opset=13),
         make_node("DequantizeLinear", ["s", "fine", "least"], ["y"])], CODES, 17, "QLinearSoftmax over axis 0"),
    "a learned query looks at all rows": (
        [make_node("Unsqueeze", ["x", "axis"], ["k"]),
         node("MultiHeadAttention", ["query", "k", "k"], ["o"], domain="com.microsoft", num_heads=1),
         make_node("Squeeze", ["o", "axis"], ["s"]), make_node("Add", ["x", "s"], ["y"])],
        {**AXIS, "query": np.ones((1, 1, 4), np.float32)}, 17, "MultiHeadAttention over axis 1"),
    "until every row is done": (
        [make_node("Loop", ["turns", "yes", "x"], ["y"], body=body(
            [make_node("Mul", ["v", "half"], ["less"]), node("ReduceMax", ["less"], ["most"], keepdims=0),
             make_node("Greater", ["most", "one"], ["again"])],
            [("i", INT64, []), ("_", TensorProto.BOOL, []), ("v", FLOAT, ["N", 4])],
            [("again", TensorProto.BOOL, []), ("less", FLOAT, ["N", 4])],
            {"half": np.float32(0.5), "one": np.float32(1)}))],
        {"turns": np.int64(50), "yes": np.bool_(True)}, 17, "ReduceMax over axis 0"),
    "in the second of two branches of the same names": (
        [make_node("If", ["yes"], ["y"], then_branch=branch("Transpose"), else_branch=branch("Identity"))],
        {"yes": np.bool_(True)}, 17, "Softmax over axis 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIXING)
def test_an_operator_over_the_batch_is_refused_by_its_node_operator_and_axis(make_model, case):
    nodes, weights, opset, shown = MIXING[case]
    operator = shown.split()[0]
    named = "s in another body" if "branches" in case else f"the {operator}"
    with pytest.raises(UnsupportedModelError, match=f"'{named}' \\({shown}.* no row has one answer; "):
        OnnxModel.from_bytes(loads(make_model, nodes, weights, opset=opset))


RANDOM = {
    "uniform": [node("RandomUniformLike", ["x"], ["r"]), make_node("Add", ["x", "r"], ["y"])],
    "normal": [node("RandomNormal", [], ["r"], shape=[1, 4], seed=1.0), make_node("Add", ["x", "r"], ["y"])],
    "bernoulli": [make_node("Sigmoid", ["x"], ["p"]), node("Bernoulli", ["p"], ["y"])],
    "dropout in training": [node("Dropout", ["x", "half", "yes"], ["y"])],
}


@pytest.mark.parametrize("case", RANDOM)
def test_random_numbers_are_refused_by_their_node(make_model, case):
    weights = {"half": np.float32(0.5), "yes": np.bool_(True)}
    operator = RANDOM[case][-1 if case in {"bernoulli", "dropout in training"} else 0].op_type
    with pytest.raises(UnsupportedModelError, match=f"random numbers: node 'the {operator}' .*gives another answer"):
        OnnxModel.from_bytes(loads(make_model, RANDOM[case], weights))


def test_a_local_function_that_mixes_is_refused_too(make_model):
    proto = ModelProto.FromString(loads(make_model, [make_node("Inner", ["x"], ["y"], domain="local")]))
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(
        helper.make_function("local", "Inner", ["a"], ["b"], [make_node("Softmax", ["a"], ["b"], axis=0)], opsets)
    )
    proto.opset_import.append(helper.make_opsetid("local", 1))
    with pytest.raises(UnsupportedModelError, match=r"\(Softmax over axis 0\)"):
        OnnxModel.from_bytes(proto.SerializeToString())


def test_rows_picked_by_their_position_are_found_by_trying(make_model):
    nodes = [node("Gather", ["x", "first"], ["r"], axis=0), make_node("Sub", ["x", "r"], ["y"])]
    with pytest.raises(UnsupportedModelError, match=r"stand in other order.*'the Gather' \(Gather over axis 0\)"):
        OnnxModel.from_bytes(loads(make_model, nodes, {"first": np.int64([0])}))


SLIGHT = {
    "the first row": ([node("Slice", ["x", "zero", "one", "zero"], ["m"])], "Slice over axis 0"),
    "the first row by elements": (
        [make_node("Shape", ["x"], ["shape"]), make_node("ConstantOfShape", ["shape"], ["zeros"], value=numpy_helper.from_array(np.int64([0]))),
         node("GatherElements", ["x", "zeros"], ["m"], axis=0)], "GatherElements over axis 0"),
    "the first of a sequence of rows": (
        [node("SplitToSequence", ["x"], ["rows"], axis=0), make_node("SequenceAt", ["rows", "nil"], ["m"])],
        "SplitToSequence over axis 0"),
    "a triangle of rows": ([node("Trilu", ["x"], ["m"], upper=0)], "Trilu over axis 0"),
    "how many rows are positive": (
        [make_node("Relu", ["x"], ["r"]), node("NonZero", ["r"], ["places"]), make_node("Shape", ["places"], ["s"]),
         make_node("Gather", ["s", "one"], ["c"]), make_node("Cast", ["c"], ["m"], to=FLOAT)], "NonZero"),
    "a histogram": (
        [make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1), make_node("ReduceSum", ["x", "one"], ["v"], keepdims=0),
         node("ScatterND", ["bins", "best", "v"], ["sums"], reduction="add"), make_node("GatherND", ["sums", "best"], ["g"]),
         make_node("Unsqueeze", ["g", "one"], ["m"])], "ScatterND"),
}  # fmt: skip


@pytest.mark.parametrize("case", SLIGHT)
def test_rows_that_weigh_a_ten_thousandth_in_the_answers_of_others_are_found_and_named(make_model, case):
    nodes, shown = SLIGHT[case]
    added = [*nodes, make_node("Mul", ["m", "slight"], ["s1"]), make_node("Add", ["x", "s1"], ["y"])]
    weights = {"slight": np.float32(1e-4), "zero": np.int64([0]), "one": np.int64([1]), "nil": np.int64(0),
               "bins": np.zeros(4, np.float32)}  # fmt: skip
    with pytest.raises(UnsupportedModelError, match=f"'the {shown.split()[0]}' \\({shown}"):
        OnnxModel.from_bytes(loads(make_model, added, weights, opset=18))


def test_what_no_operator_shows_is_found_by_trying(make_model):
    # The number of rows in the batch is added to each: no operator works over the batch.
    nodes = [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "zero"], ["count"]),
        make_node("Cast", ["count"], ["n"], to=FLOAT),
        make_node("Add", ["x", "n"], ["y"]),
    ]
    with pytest.raises(UnsupportedModelError, match="no operator is known to work over the batch"):
        OnnxModel.from_bytes(loads(make_model, nodes, {"zero": np.int64(0)}))


KEPT = {
    "softmax over classes": ([make_node("Softmax", ["x"], ["y"], axis=1)], {}, 17),
    "softmax of old": ([make_node("Softmax", ["x"], ["y"])], {}, 11),
    "mean over columns": ([make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
                           make_node("Sub", ["x", "m"], ["y"])], {}, 17),
    "normalised by running means": ([make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], BN, 17),
    "dropout in inference": ([make_node("Dropout", ["x", "half"], ["y"])], {"half": np.float32(0.5)}, 17),
    "dropout of nothing": ([make_node("Dropout", ["x", "half", "yes"], ["y"])],
                           {"half": np.float32(0), "yes": np.bool_(True)}, 17),
    "there and back": ([make_node("Transpose", ["x"], ["t"]), make_node("Softmax", ["t"], ["s"], axis=0),
                        make_node("Transpose", ["s"], ["y"])], {}, 17),
    "random numbers for nothing": ([make_node("RandomUniformLike", ["x"], ["unused"]), make_node("Relu", ["x"], ["y"])],
                                   {}, 17),
    "attention over a sequence": (
        [make_node("Reshape", ["x", "pairs"], ["s"]), make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1]),
         make_node("MatMul", ["s", "t"], ["a"]), make_node("Softmax", ["a"], ["p"], axis=-1),
         make_node("MatMul", ["p", "s"], ["c"]), make_node("Reshape", ["c", "back"], ["y"])],
        {"pairs": np.int64([-1, 2, 2]), "back": np.int64([-1, 4])}, 17),
    "columns as a sequence": (
        [make_node("Reshape", ["x", "steps"], ["s"]), make_node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
         make_node("RNN", ["t", "w", "r"], ["", "h"], hidden_size=3), make_node("Reshape", ["h", "back"], ["y"])],
        {"w": np.ones((1, 3, 1), np.float32), "r": np.ones((1, 3, 3), np.float32) / 9, "steps": np.int64([-1, 4, 1]),
         "back": np.int64([-1, 3])}, 17),
    "distances by a loop over rows": (
        [make_node("Scan", ["x"], ["y"], num_scan_inputs=1,
                   body=body([make_node("Sub", ["points", "row"], ["d"]),
                              make_node("ReduceSumSquare", ["d"], ["out"], axes=[1], keepdims=0)],
                             [("row", FLOAT, [4])], [("out", FLOAT, [3])], {"points": W.T.copy()}))], {}, 17),
    "an einsum of any axes": ([make_node("Einsum", ["x", "w"], ["y"], equation="...i,ij->...j")], {"w": W}, 17),
    "a fused product": ([make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transB=1)],
                        {"w": W.T.copy()}, 17),
    "columns from right to left": ([make_node("Slice", ["x", "last", "first", "one", "last"], ["y"])],
                                   {"last": np.int64([-1]), "first": np.int64([-(2**62)]), "one": np.int64([1])}, 17),
    "one of the columns by elements": ([make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
                                        make_node("GatherElements", ["x", "best"], ["y"], axis=1)], {}, 17),
    "ones in places": ([make_node("Shape", ["x"], ["shape"]), make_node("ConstantOfShape", ["shape"], ["zeros"]),
                        make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
                        make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=1),
                        make_node("ScatterElements", ["zeros", "best", "most"], ["y"], axis=1)], {}, 17),
    "codes of static scales": (
        [make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
         make_node("QLinearAdd", ["q", "scale", "zero", "q", "scale", "zero", "scale", "zero"], ["a"], domain="com.microsoft"),
         make_node("QLinearSoftmax", ["a", "scale", "zero", "fine", "least"], ["s"], domain="com.microsoft", axis=-1, opset=13),
         make_node("DequantizeLinear", ["s", "fine", "least"], ["y"])], CODES, 17),
    "dropout whose training is computed": (
        [make_node("Not", ["yes"], ["no"]), make_node("Dropout", ["x", "half", "no"], ["y"])],
        {"half": np.float32(0.5), "yes": np.bool_(True)}, 17),
    "normalised over columns": ([make_node("LayerNormalization", ["x", "s"], ["y"], axis=-1)],
                                {"s": np.ones(4, np.float32)}, 17),
    "two branches of the same names": (
        [make_node("If", ["yes"], ["y"], then_branch=branch("Identity"), else_branch=branch("Identity"))],
        {"yes": np.bool_(False)}, 17),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_an_operator_beside_the_batch_is_taken_as_it_is(rows, make_model, plain_run, case):
    nodes, weights, opset = KEPT[case]
    data = loads(make_model, nodes, weights, opset=opset)
    model = OnnxModel.from_bytes(data)
    assert (model.form, model.fixed_batch, model.normalised) == ("as it is", None, data)
    np.testing.assert_allclose(scored(model, rows), one_by_one(data, rows), rtol=1e-5, atol=1e-6)


def quantised(make_model, shape=("N", 4), rank=2):
    """A dynamically quantised layer, its scale that of all rows in the call."""
    codes = np.clip(W * 50, -127, 127).astype(np.int8)
    weights = {"w": codes, "zero": np.int8(0), "scale": np.float32(0.02), "b": np.float32([0.1, -0.2, 0.3])}
    nodes = [
        make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantise"),
        make_node("MatMulInteger", ["q", "w", "z", "zero"], ["m"]),
        make_node("Cast", ["m"], ["f"], to=FLOAT),
        make_node("Mul", ["s", "scale"], ["both"]),
        make_node("Mul", ["f", "both"], ["p"]),
        make_node("Add", ["p", "b"], ["h"]),
        make_node("Softmax", ["h"], ["y"], axis=1),
        make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    first = shape[0]
    outputs = [("y", FLOAT, [first, 3]), ("label", INT64, [first])]
    return make_model(nodes, [("x", FLOAT, list(shape))], outputs, weights)


@pytest.mark.parametrize("first", ["N", 1, 16])
@pytest.mark.parametrize("batch_rows", [1, 7, 65536])
def test_dynamic_quantisation_runs_one_row_at_a_time(rows, make_model, first, batch_rows):
    wild = rows.copy()
    wild[17] *= 1e4
    model = OnnxModel.from_bytes(quantised(make_model, (first, 4)), options=RuntimeOptions(batch_rows=batch_rows))
    truth = quantised(make_model)
    for data in (rows, wild):
        found = scored(model, data)
        np.testing.assert_allclose(found[:, :3], one_by_one(truth, data), rtol=1e-6)
        np.testing.assert_array_equal(found[:, 3], one_by_one(truth, data, output=1))
    assert model.form == model.about["runs"] == "one row at a time"
    assert any("14 µs a row: node 'quantise' (DynamicQuantizeLinear)" in change for change in model.changes)


def test_the_normalised_form_loops_by_itself_so_that_every_engine_gets_the_same(rows, make_model, plain_run):
    data = quantised(make_model)
    normalised = OnnxModel.from_bytes(data).normalised
    found = plain_run(normalised, {"x": rows})
    np.testing.assert_allclose(found["y"], one_by_one(data, rows), rtol=1e-6)
    assert found["label"].shape == (300,)
    again = OnnxModel.from_bytes(normalised)  # and is what it is when somebody publishes it
    assert (again.form, again.fixed_batch, again.normalised) == ("as it is", None, normalised)


def test_what_was_found_is_kept_with_the_model(make_model):
    model = OnnxModel.from_bytes(quantised(make_model))
    facts = json.loads(json.dumps(model.describe()))
    again = OnnxModel.from_description(model.normalised, facts)
    assert again == model and again.form == "one row at a time"


def test_quantisation_beside_an_operator_over_the_batch_is_refused_by_that(make_model):
    proto = ModelProto.FromString(quantised(make_model))
    proto.graph.node[6].attribute[0].i = 0
    with pytest.raises(UnsupportedModelError, match=r"\(Softmax over axis 0\)"):
        OnnxModel.from_bytes(proto.SerializeToString())


def fused(make_model, opset):
    """A dynamically quantised layer in one operator, of whose output ONNX infers no shape."""
    layer = node("DynamicQuantizeMatMul", ["x", "w", "scale", "zero"], ["y"], domain="com.microsoft")
    weights = {"w": np.clip(W * 50, -127, 127).astype(np.int8), "scale": np.float32(0.02), "zero": np.int8(0)}
    return loads(make_model, [layer], weights, opset=opset, outputs=[("y", FLOAT, None)])


def test_a_quantised_model_that_declares_no_shapes_runs_one_row_at_a_time_too(rows, make_model):
    data = fused(make_model, 17)
    model = OnnxModel.from_bytes(data)
    assert model.form == "one row at a time"
    np.testing.assert_allclose(scored(model, rows), one_by_one(data, rows), rtol=1e-6)


def test_a_quantised_model_of_an_opset_without_a_loop_is_refused_by_its_node(make_model):
    with pytest.raises(UnsupportedModelError, match=r"'the DynamicQuantizeMatMul' .* wants opset 9 or later"):
        OnnxModel.from_bytes(fused(make_model, 8))


SQUEEZED = {
    "a bare squeeze": ([make_node("MatMul", ["x", "w"], ["h"]), make_node("Squeeze", ["h"], ["y"])],
                       {"w": W[:, :1]}, 17, 1),
    "a bare squeeze of old": ([make_node("MatMul", ["x", "w"], ["h"]), make_node("Squeeze", ["h"], ["y"])],
                              {"w": W[:, :1]}, 9, 1),
    "a squeeze that the next node cannot take": (
        [make_node("MatMul", ["x", "w"], ["h"]), make_node("Squeeze", ["h"], ["s"]),
         make_node("Softmax", ["s"], ["y"], axis=1)], {"w": W}, 13, 2),
}  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 300])
@pytest.mark.parametrize("case", SQUEEZED)
def test_a_model_that_fails_with_one_row_is_padded(rows, make_model, plain_run, case, count):
    nodes, weights, opset, rank = SQUEEZED[case]
    data = loads(make_model, nodes, weights, opset=opset, outputs=[("y", FLOAT, None)])
    model = OnnxModel.from_bytes(data)
    assert model.form == "a spare row"
    assert any("never has fewer than two rows" in change for change in model.changes)
    truth = plain_run(data, {"x": rows})["y"][:count].reshape(count, -1)
    np.testing.assert_allclose(scored(model, rows[:count]), truth, rtol=1e-5)
    assert len(model.signature.outputs[0].shape) == rank
    # What runs is padded by itself: an engine that knows nothing of it gets one row for one.
    assert plain_run(model.normalised, {"x": rows[:1]})["y"].shape[:1] == (1,)


def test_the_last_row_of_65537_is_scored(make_model, plain_run):
    nodes, weights, opset, _ = SQUEEZED["a bare squeeze"]
    data = loads(make_model, nodes, weights, opset=opset, outputs=[("y", FLOAT, None)])
    many = np.random.default_rng(0).normal(size=(65_537, 4)).astype(np.float32)
    found = scored(OnnxModel.from_bytes(data), many)
    np.testing.assert_allclose(found[:, 0], plain_run(data, {"x": many})["y"], rtol=1e-5, atol=1e-6)


def test_text_goes_through_a_loop_and_through_padding(make_model):
    encode = make_node(
        "LabelEncoder", ["ward"], ["code"], domain="ai.onnx.ml", keys_strings=["er", "icu"], values_floats=[1.0, 2.0]
    )
    squeezed = make_model([encode, make_node("Squeeze", ["code"], ["y"])], [("ward", STRING, ["N", 1])],
                          [("y", FLOAT, None)])  # fmt: skip
    looped = make_model(
        [encode, make_node("ReduceSum", ["code"], ["y"], keepdims=1)],
        [("ward", STRING, [1, 1])],
        [("y", FLOAT, [1, 1])],
    )
    for data, form in ((squeezed, "a spare row"), (looped, "one row at a time")):
        model = OnnxModel.from_bytes(data)
        assert model.form == form
        assert model.score(pa.table({"ward": ["icu"]}))["y"].to_pylist() == [2]
        assert model.score(pa.table({"ward": ["icu", "er", "er"]}))["y"].to_pylist() == [2, 1, 1]


def test_a_model_that_fails_with_more_than_one_row_runs_one_at_a_time(rows, make_model):
    nodes = [make_node("Reshape", ["x", "one"], ["s"]), make_node("MatMul", ["s", "w"], ["y"])]
    data = loads(make_model, nodes, {"one": np.int64([1, 4]), "w": W})
    model = OnnxModel.from_bytes(data)
    assert model.form == "one row at a time"
    np.testing.assert_allclose(scored(model, rows), one_by_one(data, rows), rtol=1e-5)


def test_a_label_that_flips_between_equal_scores_is_no_dependence(make_model):
    # The difference of the two scores is what rounding leaves of a sum of large numbers.
    wide = np.random.default_rng(1).normal(size=(4, 512)).astype(np.float32) * 100
    back = np.random.default_rng(2).normal(size=(512, 1)).astype(np.float32)
    weights = {"w": wide, "v": np.hstack([back, back]), "b": np.float32([0, 0])}
    nodes = [
        make_node("Gemm", ["x", "w"], ["h"]), make_node("Gemm", ["h", "v", "b"], ["scores"]),
        make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0),
    ]  # fmt: skip
    data = make_model(nodes, [("x", FLOAT, ["N", 4])], [("y", INT64, ["N"])], weights)
    assert OnnxModel.from_bytes(data).form == "as it is"


@pytest.mark.parametrize("kind", [FLOAT, FLOAT16])
def test_a_network_whose_last_bits_differ_by_batch_is_taken(make_model, kind):
    dtype = {FLOAT: np.float32, FLOAT16: np.float16}[kind]
    random = np.random.default_rng(0)
    weights = {f"w{layer}": (random.normal(size=shape) / 8).astype(dtype)
               for layer, shape in enumerate([(4, 128), (128, 128), (128, 2)])}  # fmt: skip
    nodes = [
        make_node("MatMul", ["x", "w0"], ["a"]), make_node("Relu", ["a"], ["b"]), make_node("MatMul", ["b", "w1"], ["c"]),
        make_node("Relu", ["c"], ["d"]), make_node("MatMul", ["d", "w2"], ["e"]), make_node("Softmax", ["e"], ["y"], axis=1),
    ]  # fmt: skip
    data = make_model(nodes, [("x", kind, ["N", 4])], [("y", kind, ["N", 2])], weights)
    assert OnnxModel.from_bytes(data).form == "as it is"


def test_the_graph_alone_says_where_the_batch_lies(make_model):
    proto = ModelProto.FromString(loads(make_model, *MIXING["transposed"][:2]))
    assert structural_causes(proto) == (Cause("mixes", "the Softmax", "Softmax", 1),)


def with_weight(make_model, *, value, name="fc.weight"):
    proto = ModelProto.FromString(
        loads(make_model, [make_node("Gemm", ["x", name], ["y"], transB=1)], {name: W.T.copy()})
    )
    proto.graph.input.append(helper.make_tensor_value_info(name, FLOAT, [3, 4]))
    if not value:
        del proto.graph.initializer[:]
    return proto.SerializeToString()


def test_a_weight_that_is_also_an_input_is_no_feature(rows, make_model):
    model = OnnxModel.from_bytes(with_weight(make_model, value=True))
    assert [tensor.name for tensor in model.signature.inputs] == ["x"]
    assert model.changes == ("weights listed among the inputs are no features: fc.weight",)
    np.testing.assert_allclose(scored(model, rows), rows @ W, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fc.weight", "whatever"])
def test_an_input_that_looks_like_a_weight_is_named(make_model, name):
    with pytest.raises(
        UnsupportedModelError, match=rf"'{name}' \(float\[3, 4\]\) .*looks like a weight.*export_params"
    ):
        OnnxModel.from_bytes(with_weight(make_model, value=False, name=name))


@pytest.mark.parametrize("batch", ["N", 1, 8])
def test_a_column_that_is_called_weight_is_a_column(make_model, batch):
    inputs = [("weight", FLOAT, [batch, 1]), ("height", FLOAT, [batch, 1])]
    data = make_model([make_node("Div", ["weight", "height"], ["y"])], inputs, [("y", FLOAT, [batch, 1])])
    scored = OnnxModel.from_bytes(data).score(pa.table({"weight": [60.0, 90.0], "height": [1.5, 2.0]}))
    assert scored["y"].to_pylist() == [40, 45]
