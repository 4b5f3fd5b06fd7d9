"""What is not a model, and what has no form as columns: an error that names it."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.helper import make_node

from onnx_pipeline.base.errors import InvalidModelError, UnsupportedModelError
from onnx_pipeline.models import OnnxModel

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def good(make_model):
    weights = {"w": np.random.default_rng(0).normal(size=(4, 200)).astype(np.float32)}
    return make_model(
        [make_node("MatMul", ["x", "w"], ["y"])],
        [("x", FLOAT, ["N", 4])],
        [("y", FLOAT, ["N", 200])],
        weights,
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "night.onnx is empty"),
        (b"\x00\xff\x13garbage" * 50, "night.onnx is not an"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "error page of a download"),
        (b"PK\x03\x04 and so on", "a zip archive"),
    ],
)
def test_bytes_that_are_no_model_are_named(data, message):
    with pytest.raises(InvalidModelError, match=message):
        OnnxModel.from_bytes(data, source="night.onnx")


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_a_truncated_model_is_an_error_wherever_it_was_cut(good, kept):
    with pytest.raises(InvalidModelError, match=r"night.onnx"):
        OnnxModel.from_bytes(good[: int(len(good) * kept)], source="night.onnx")


def test_every_short_prefix_of_a_model_is_an_error_of_ours(make_model):
    small = make_model([make_node("Relu", ["x"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    survivors = 0
    for length in range(len(small)):
        try:
            OnnxModel.from_bytes(small[:length])
        except (InvalidModelError, UnsupportedModelError):
            continue
        survivors += 1
    # Only the operator sets follow the graph, and protobuf has no end mark: a few prefixes are whole models.
    assert survivors <= 2


def test_external_data_is_named(good, tmp_path):
    path = tmp_path / "big.onnx"
    onnx.save_model(
        ModelProto.FromString(good),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(UnsupportedModelError, match=r"weights 'w' as external data in 'weights.bin'.*save_model"):
        OnnxModel.load(path)


def test_external_data_inside_a_node_is_found_too(make_model):
    value = helper.make_tensor("hidden", FLOAT, [1], [1.0])
    value.ClearField("float_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/passwd")
    nodes = [make_node("Constant", [], ["c"], value=value), make_node("Add", ["x", "c"], ["y"])]
    data = make_model(nodes, [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    with pytest.raises(UnsupportedModelError, match="'hidden' as external data"):
        OnnxModel.from_bytes(data)


def test_custom_operators_are_named_with_their_domain(make_model):
    data = make_model(
        [make_node("Tokenize", ["x"], ["y"], domain="ai.onnx.contrib")],
        [("x", FLOAT, ["N", 1])],
        [("y", FLOAT, ["N", 1])],
    )
    with pytest.raises(UnsupportedModelError, match=r"custom operators.*: ai.onnx.contrib::Tokenize"):
        OnnxModel.from_bytes(data)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            [("image", FLOAT, ["N", 3, 8])],
            [("y", FLOAT, ["N", 3, 8])],
            r"'image' .*rank 3 \(shape \[N, 3, 8\]\)",
        ),
        ([("scalar", FLOAT, [])], [("y", FLOAT, [])], r"'scalar' .*rank 0"),
        ([("x", FLOAT, None)], [("y", FLOAT, None)], "'x' .*declares no shape"),
        ([("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2, 1])], r"output 'y' .*rank 3"),
        (
            [("z", TensorProto.COMPLEX64, ["N", 1])],
            [("y", TensorProto.COMPLEX64, ["N", 1])],
            "'z' has the dtype complex64",
        ),
        (
            [("b", TensorProto.BFLOAT16, ["N", 1])],
            [("y", TensorProto.BFLOAT16, ["N", 1])],
            "'b' has the dtype bfloat16",
        ),
        ([], [("y", FLOAT, [1])], "has no inputs"),
    ],
)
def test_ranks_and_dtypes_without_a_form_are_named(make_model, inputs, outputs, message):
    source = inputs[0][0] if inputs else "c"
    data = make_model(
        [make_node("Identity", [source], ["y"])], inputs, outputs, {} if inputs else {"c": np.float32([1])}
    )
    with pytest.raises(UnsupportedModelError, match=message):
        OnnxModel.from_bytes(data, source="night.onnx")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [None])), "is a sequence"),
        (helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [None])), "is an optional"),
        (
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, [None])),
            "is a map",
        ),
        (helper.make_sparse_tensor_type_proto(FLOAT, [None, 2]), "is a sparse tensor"),
    ],
    ids=["sequence", "optional", "map", "sparse"],
)
@pytest.mark.parametrize("place", ["input", "output"])
def test_values_that_are_no_tensor_are_named(make_model, kind, message, place):
    proto = ModelProto.FromString(
        make_model([make_node("Relu", ["x"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    )
    getattr(proto.graph, place)[0].type.CopyFrom(kind)
    with pytest.raises(UnsupportedModelError, match=f"{place} .* {message}"):
        OnnxModel.from_bytes(proto.SerializeToString())


def test_an_output_that_holds_no_row_per_row_is_named(make_model):
    nodes = [make_node("Reshape", ["x", "flat"], ["y"])]
    data = make_model(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, None)], {"flat": np.int64([-1])})
    with pytest.raises(UnsupportedModelError, match=r"'y' .*has the shape \[6\] for 3 rows"):
        OnnxModel.from_bytes(data)


def test_a_graph_that_onnxruntime_refuses_is_an_error_with_its_words(make_model):
    data = make_model([make_node("Relu", ["nowhere"], ["y"])], [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    with pytest.raises(InvalidModelError, match=r"refuses night.onnx: .*nowhere"):
        OnnxModel.from_bytes(data, source="night.onnx")
