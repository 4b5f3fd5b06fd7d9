"""Models as they come, each against plain ONNX Runtime on the original bytes, or against scikit-learn."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto, defs, helper
from onnx.helper import make_node
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from onnx_pipeline.base.errors import DataError, SignatureError
from onnx_pipeline.models import OnnxModel, RuntimeOptions

FLOAT, INT64, DOUBLE = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE
NAMES = list("abcd")


def columns_of(rows):
    return pa.table({name: np.ascontiguousarray(rows[:, index]) for index, name in enumerate(NAMES)})


def labels_of(rows):
    return np.array(["low", "mid", "high"])[np.digitize(rows[:, 0] + rows[:, 1], [-0.5, 0.5])]


def test_one_matrix_scores_as_plain_onnxruntime_whatever_the_batch_size(rows, plain_run):
    data = to_onnx(DecisionTreeRegressor(max_depth=5).fit(rows, rows @ [1, 2, 3, 4]), rows[:1]).SerializeToString()
    truth = plain_run(data, {"X": rows})["variable"][:, 0]
    for batch_rows in (1, 7, 299, 300, 4096):
        model = OnnxModel.from_bytes(data, options=RuntimeOptions(batch_rows=batch_rows))
        scored = model.score(columns_of(rows), features=NAMES)
        assert scored.column_names == ["variable"]
        np.testing.assert_array_equal(scored["variable"], truth)


@pytest.mark.parametrize("opset", [9, 12, 15, 17, min(21, defs.onnx_opset_version())])
def test_every_opset_scores_as_scikit_learn(rows, opset):
    estimator = LogisticRegression().fit(rows, labels_of(rows))
    ml = 1 if opset < 12 else 3
    exported = to_onnx(estimator, rows[:1], target_opset={"": opset, "ai.onnx.ml": ml})
    model = OnnxModel.from_bytes(exported.SerializeToString())
    scored = model.score(columns_of(rows), features=NAMES)
    assert scored["output_label"].to_pylist() == estimator.predict(rows).tolist()


def test_the_newest_opset_that_onnxruntime_knows_is_scored(make_model):
    newest = 0
    for opset in range(9, defs.onnx_opset_version() + 1):
        relu = make_model(
            [make_node("Relu", ["x"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])], opset=opset
        )
        scored = OnnxModel.from_bytes(relu).score(pa.table({"x": [-1.0, 2.0]}))
        assert scored["y"].to_pylist() == [0, 2]
        newest = opset
    assert newest >= 21


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        DecisionTreeClassifier(max_depth=4, random_state=0),
        RandomForestClassifier(5, max_depth=4, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        MLPClassifier((5,), max_iter=20, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # skl2onnx hands numpy integers to protobuf
def test_probabilities_are_columns_named_by_their_class_with_and_without_zipmap(rows, estimator, zipmap):
    estimator.fit(rows, labels_of(rows))
    exported = to_onnx(estimator, rows[:1], options=None if zipmap else {"zipmap": False})
    model = OnnxModel.from_bytes(exported.SerializeToString())
    label, probability = model.signature.outputs
    assert probability.labels == ("high", "low", "mid")
    scored = model.score(columns_of(rows), features=NAMES, outputs={"level": label.name, "p": probability.name})
    assert scored.column_names == ["level", "p_high", "p_low", "p_mid"]
    assert scored["level"].to_pylist() == estimator.predict(rows).tolist()
    np.testing.assert_allclose(np.column_stack(scored.columns[1:]), estimator.predict_proba(rows), rtol=1e-5, atol=1e-6)
    assert any("ZipMap removed" in change for change in model.changes) is zipmap


def test_integer_labels_name_columns_too_also_negative_ones(rows):
    estimator = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, 1, -1))
    scored = OnnxModel.from_bytes(to_onnx(estimator, rows[:1]).SerializeToString()).score(
        columns_of(rows), features=NAMES
    )
    assert scored.column_names == ["output_label", "output_probability_-1", "output_probability_1"]
    assert scored["output_label"].type == pa.int64()


def test_a_tensor_that_a_zipmap_shares_with_another_output_stays(make_model):
    scores = np.float32([[0.1, 0.9], [0.8, 0.2]])
    nodes = [
        make_node("Abs", ["x"], ["scores"]),
        make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]),
    ]
    data = make_model(nodes, [("x", FLOAT, ["N", 2])], [("scores", FLOAT, ["N", 2]), ("maps", FLOAT, ["N", 2])])
    model = OnnxModel.from_bytes(data)
    scored = model.score(pa.table({"a": scores[:, 0], "b": scores[:, 1]}), features=["a", "b"])
    assert scored.column_names == ["scores_0", "scores_1", "maps_no", "maps_yes"]
    np.testing.assert_array_equal(scored["maps_yes"], scores[:, 1])


@pytest.mark.parametrize(
    ("tensor", "dtype"),
    [(DoubleTensorType, np.float64), (Int64TensorType, np.int64), (FloatTensorType, np.float32)],
)
def test_double_int64_and_float_matrices_score_as_scikit_learn(rows, tensor, dtype):
    values = np.round(rows * 10).astype(dtype)
    estimator = LinearRegression().fit(values, values @ [1, 2, 3, 4])
    exported = to_onnx(estimator, initial_types=[("X", tensor([None, 4]))])
    scored = OnnxModel.from_bytes(exported.SerializeToString()).score(columns_of(values), features=NAMES)
    np.testing.assert_allclose(scored.column(0), estimator.predict(values), rtol=1e-4, atol=1e-4)


def test_one_input_per_column_with_text_and_numbers_scores_as_scikit_learn():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.normal(60, 10, 200).astype(np.float32),
            "stays": random.integers(0, 9, 200),
            "ward": random.choice(["icu", "er", "surgery"], 200),
        }
    )
    days = frame["age"] / 10 + frame["stays"] + (frame["ward"] == "icu") * 5
    encode = ColumnTransformer([("ward", OneHotEncoder(), ["ward"]), ("rest", StandardScaler(), ["age", "stays"])])
    pipeline = make_pipeline(encode, LinearRegression()).fit(frame, days)
    types = [
        ("age", FloatTensorType([None, 1])),
        ("stays", Int64TensorType([None, 1])),
        ("ward", StringTensorType([None, 1])),
    ]
    model = OnnxModel.from_bytes(to_onnx(pipeline, initial_types=types).SerializeToString())
    assert [tensor.dtype for tensor in model.signature.inputs] == ["float", "int64", "string"]
    renamed = frame.rename(columns={"age": "admission_age"})
    scored = model.score(renamed, features={"age": "admission_age"}, outputs={"days": "variable"})
    np.testing.assert_allclose(scored["days"], pipeline.predict(frame), rtol=1e-4)


def test_float16_goes_in_and_comes_out_as_float32(make_model):
    data = make_model(
        [make_node("Mul", ["x", "two"], ["y"])],
        [("x", TensorProto.FLOAT16, ["N", 1])],
        [("y", TensorProto.FLOAT16, ["N", 1])],
        {"two": np.float16([2])},
    )
    scored = OnnxModel.from_bytes(data).score(pa.table({"x": [0.5, 1.25, None]}))
    assert scored["y"].type == pa.float32()
    np.testing.assert_array_equal(scored["y"], np.float32([1, 2.5, np.nan]))


def test_rank_one_tensors_matrices_and_several_outputs_live_together(make_model):
    nodes = [
        make_node("ReduceSum", ["x", "axis"], ["total"], keepdims=0),
        make_node("Add", ["total", "n"], ["y"]),
        make_node("Greater", ["y", "zero"], ["positive"]),
        make_node("Identity", ["x"], ["same"]),
    ]
    data = make_model(
        nodes,
        [("x", FLOAT, ["N", 2]), ("n", FLOAT, ["N"])],
        [("y", FLOAT, ["N"]), ("positive", TensorProto.BOOL, ["N"]), ("same", FLOAT, ["N", 2])],
        {"axis": np.int64([1]), "zero": np.float32([0])},
    )
    table = pa.table({"a": [1.0, -5.0], "b": [2.0, 1.0], "n": [1.0, 1.0]})
    scored = OnnxModel.from_bytes(data).score(table, features=["a", "b"])
    assert scored.to_pydict() == {
        "y": [4, -3],
        "positive": [True, False],
        "same_0": [1, -5],
        "same_1": [2, 1],
    }


def torch_like_network(make_model, batch="batch"):
    """What `torch.onnx.export` writes for Linear(4, 8) → ReLU → Linear(8, 3) → Softmax."""
    random = np.random.default_rng(1)
    weights = {
        "fc1.weight": random.normal(size=(8, 4)).astype(np.float32),
        "fc1.bias": random.normal(size=8).astype(np.float32),
        "fc2.weight": random.normal(size=(3, 8)).astype(np.float32),
        "fc2.bias": random.normal(size=3).astype(np.float32),
    }
    nodes = [
        make_node("Gemm", ["input", "fc1.weight", "fc1.bias"], ["/fc1/Gemm_output_0"], "/fc1/Gemm", transB=1),
        make_node("Relu", ["/fc1/Gemm_output_0"], ["/relu/Relu_output_0"], "/relu/Relu"),
        make_node(
            "Gemm",
            ["/relu/Relu_output_0", "fc2.weight", "fc2.bias"],
            ["/fc2/Gemm_output_0"],
            "/fc2/Gemm",
            transB=1,
        ),
        make_node("Softmax", ["/fc2/Gemm_output_0"], ["output"], "/Softmax", axis=1),
    ]
    data = make_model(nodes, [("input", FLOAT, [batch, 4])], [("output", FLOAT, [batch, 3])], weights)
    return data, weights


def test_a_network_as_pytorch_exports_it_scores_as_numpy(rows, make_model):
    data, weights = torch_like_network(make_model)
    hidden = np.maximum(rows @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
    logits = hidden @ weights["fc2.weight"].T + weights["fc2.bias"]
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scored = OnnxModel.from_bytes(data).score(columns_of(rows), features=NAMES)
    assert scored.column_names == ["output_0", "output_1", "output_2"]
    np.testing.assert_allclose(np.column_stack(scored.columns), truth, rtol=1e-5, atol=1e-6)


def test_a_width_that_the_exporter_left_open_comes_from_a_run(make_model):
    data = make_model([make_node("Identity", ["x"], ["y"])], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", "K"])])
    assert OnnxModel.from_bytes(data).signature.outputs[0].shape == (None, 3)


def test_an_input_of_dynamic_width_takes_what_features_list(rows):
    estimator = LinearRegression().fit(rows, rows @ [1, 2, 3, 4])
    exported = to_onnx(estimator, initial_types=[("X", FloatTensorType([None, None]))])
    model = OnnxModel.from_bytes(exported.SerializeToString())
    assert model.signature.inputs[0].shape == (None, None)
    np.testing.assert_allclose(
        model.score(columns_of(rows), features=NAMES).column(0), estimator.predict(rows), rtol=1e-4, atol=1e-5
    )


def test_the_models_own_feature_names_order_the_columns(make_model):
    data = make_model(
        [make_node("Identity", ["x"], ["y"])],
        [("x", FLOAT, ["N", 2])],
        [("y", FLOAT, ["N", 2])],
        metadata={"feature_names": json.dumps(["b", "a"])},
    )
    model = OnnxModel.from_bytes(data)
    assert model.feature_names == ("b", "a")
    assert model.score(pa.table({"a": [1.0], "b": [2.0]})).to_pydict() == {"y_0": [2], "y_1": [1]}


def test_feature_names_in_another_form_are_not_used_and_a_remark_says_so(make_model):
    data = make_model(
        [make_node("Identity", ["x"], ["y"])],
        [("x", FLOAT, ["N", 2])],
        [("y", FLOAT, ["N", 2])],
        metadata={"feature_names": "a,b"},
    )
    model = OnnxModel.from_bytes(data)
    assert model.feature_names is None
    assert "feature_names is not a JSON list" in model.changes[0]


def test_weights_that_an_old_exporter_lists_among_the_inputs_are_no_columns(make_model):
    inputs = [("x", FLOAT, ["N", 1]), ("w", FLOAT, [1])]
    data = make_model([make_node("Mul", ["x", "w"], ["y"])], inputs, [("y", FLOAT, ["N", 1])], {"w": np.float32([3])})
    model = OnnxModel.from_bytes(data)
    assert [tensor.name for tensor in model.signature.inputs] == ["x"]
    assert model.score(pa.table({"x": [2.0]}))["y"].to_pylist() == [6]


def test_functions_that_the_model_brings_itself_are_inlined(make_model):
    from onnx import ModelProto

    proto = ModelProto.FromString(
        make_model(
            [make_node("Twice", ["x"], ["y"], domain="local")],
            [("x", FLOAT, ["N", 1])],
            [("y", FLOAT, ["N", 1])],
        )
    )
    proto.opset_import.append(helper.make_opsetid("local", 1))
    twice = make_node("Add", ["a", "a"], ["b"])
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], [twice], opsets))
    assert OnnxModel.from_bytes(proto.SerializeToString()).score(pa.table({"x": [2.0]}))["y"].to_pylist() == [4]


def test_rows_that_an_operator_refuses_are_an_error_that_says_so(make_model):
    data = make_model(
        [make_node("Gather", ["table", "x"], ["y"])],
        [("x", INT64, ["N"])],
        [("y", FLOAT, ["N"])],
        {"table": np.float32([1, 2])},
    )
    with pytest.raises(DataError, match="the model refuses these rows"):
        OnnxModel.from_bytes(data).score(pa.table({"x": [1, 7]}))


def test_outputs_choose_and_name_the_predictions(rows):
    estimator = LogisticRegression().fit(rows, labels_of(rows))
    model = OnnxModel.from_bytes(to_onnx(estimator, rows[:1]).SerializeToString())
    scored = model.score(columns_of(rows), features=NAMES, outputs={"level": "output_label"})
    assert scored.column_names == ["level"]
    with pytest.raises(SignatureError, match="no such output; did you mean 'output_label'"):
        model.score(columns_of(rows), features=NAMES, outputs={"level": "output_lable"})
    with pytest.raises(SignatureError, match=r"'p_low' .from output_probability, output_label"):
        model.score(columns_of(rows), features=NAMES, outputs={"p": "output_probability", "P_low": "output_label"})


def test_a_described_model_is_built_again_without_its_graph(rows):
    estimator = DecisionTreeClassifier(max_depth=3).fit(rows, labels_of(rows))
    model = OnnxModel.from_bytes(to_onnx(estimator, rows[:1]).SerializeToString())
    facts = json.loads(json.dumps(model.describe()))
    again = OnnxModel.from_description(model.normalised, facts)
    assert again == model
    assert again.score(columns_of(rows), features=NAMES).equals(model.score(columns_of(rows), features=NAMES))
