"""Models that take a process down, each in its own way."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node

FLOAT = TensorProto.FLOAT


def _model(nodes, weights=(), *, width=3, out=None, out_type=FLOAT, ml=3):
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("x", FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", out_type, out or [None, width])],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def one_class_forest() -> bytes:
    """What skl2onnx makes of a forest that saw a single label: ONNX Runtime aborts on an assertion."""
    leaf = {
        "nodes_treeids": [0],
        "nodes_nodeids": [0],
        "nodes_featureids": [0],
        "nodes_values": [0.0],
        "nodes_hitrates": [1.0],
        "nodes_modes": ["LEAF"],
        "nodes_truenodeids": [0],
        "nodes_falsenodeids": [0],
        "nodes_missing_value_tracks_true": [0],
        "class_treeids": [0],
        "class_nodeids": [0],
        "class_ids": [0],
        "class_weights": [1.0],
        "classlabels_strings": ["only"],
        "post_transform": "NONE",
    }
    node = make_node("TreeEnsembleClassifier", ["x"], ["y", "p"], domain="ai.onnx.ml", **leaf)
    return _model([node], out=[None], out_type=TensorProto.STRING)


def endless_loop() -> bytes:
    """A Loop without an end."""
    body = helper.make_graph(
        [make_node("Identity", ["go"], ["goes"]), make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [None, 3]),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", FLOAT, [None, 3]),
        ],
    )
    return _model([make_node("Loop", ["", "yes", "x"], ["y"], body=body)], [("yes", np.array(True))])


def memory_flood(gigabytes: int = 64) -> bytes:
    """A few bytes that ask for gigabytes, whatever goes in."""
    shape = np.array([gigabytes * 2**28], np.int64)
    zero = helper.make_tensor("value", FLOAT, [1], [0.0])
    return _model(
        [
            make_node("Shape", ["x"], ["s"]),
            make_node("Slice", ["s", "from", "to"], ["n"]),
            make_node("Mul", ["n", "zero"], ["none"]),
            make_node("Add", ["none", "shape"], ["many"]),
            make_node("ConstantOfShape", ["many"], ["big"], value=zero),
            make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
            make_node("Add", ["x", "sum"], ["y"]),
        ],
        [
            ("shape", shape),
            ("from", np.array([0], np.int64)),
            ("to", np.array([1], np.int64)),
            ("zero", np.array([0], np.int64)),
        ],
    )


def unknown_locale(name: str = "xx_XX.UTF-8") -> bytes:
    """A StringNormalizer whose locale no machine has."""
    node = make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=name)
    graph = helper.make_graph(
        [node],
        "bad",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [None])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [None])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
