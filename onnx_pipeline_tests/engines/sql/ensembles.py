"""Ensembles of trees put together by hand, for what no exporter writes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Leaf = "Sequence[tuple[int, float]]"
"""(target, weight), ..."""
Tree = "tuple[int, str, float, Tree, Tree] | tuple[int, str, float, Tree, Tree, bool] | Leaf"
"""(feature, mode, threshold, true, false[, whether missing values go the way of true]), or a leaf."""

_TYPES = {"f": TensorProto.FLOAT, "d": TensorProto.DOUBLE, "i": TensorProto.INT64}


def stump(threshold: float, *weights: Any, mode: str = "BRANCH_LEQ", tracks: bool = False, feature: int = 0) -> Any:
    """A test with a leaf on each side, for as many targets as there are pairs of weights; None: nothing said."""
    true, false = (
        [(target, pair[side]) for target, pair in enumerate(weights) if pair[side] is not None] for side in (0, 1)
    )
    return (feature, mode, threshold, true, false, tracks)


def regressor(
    trees: Sequence[Any],
    *,
    columns: int = 1,
    dtype: str = "f",
    targets: int = 1,
    doubles: bool = False,
    **attributes: Any,
) -> bytes:
    """A TreeEnsembleRegressor."""
    held = {**_nodes(trees, "target", doubles=doubles), "n_targets": targets, **attributes}
    node = helper.make_node("TreeEnsembleRegressor", ["X"], ["Y"], domain="ai.onnx.ml", **held)
    return _model(node, columns, dtype, {"Y": (TensorProto.FLOAT, [None, targets])})


def classifier(
    trees: Sequence[Any],
    labels: Sequence[Any],
    *,
    columns: int = 1,
    dtype: str = "f",
    doubles: bool = False,
    **attributes: Any,
) -> bytes:
    """A TreeEnsembleClassifier."""
    texts = isinstance(labels[0], str)
    held = {
        **_nodes(trees, "class", doubles=doubles),
        "classlabels_strings" if texts else "classlabels_int64s": list(labels),
        **attributes,
    }
    node = helper.make_node("TreeEnsembleClassifier", ["X"], ["L", "P"], domain="ai.onnx.ml", **held)
    label = (TensorProto.STRING if texts else TensorProto.INT64, [None])
    return _model(node, columns, dtype, {"L": label, "P": (TensorProto.FLOAT, [None, len(labels)])})


def ensemble(columns: int, dtype: str = "f", targets: int = 1, **attributes: Any) -> bytes:
    """A TreeEnsemble of ai.onnx.ml 5, whose tensors are given as lists."""
    number = np.float64 if dtype == "d" else np.float32
    kinds = {"nodes_modes": np.uint8, "nodes_splits": number, "leaf_weights": number, "membership_values": number}
    held = {
        name: numpy_helper.from_array(np.array(value, kinds[name])) if name in kinds else value
        for name, value in attributes.items()
    }
    node = helper.make_node("TreeEnsemble", ["X"], ["Y"], domain="ai.onnx.ml", n_targets=targets, **held)
    return _model(node, columns, dtype, {"Y": (_TYPES[dtype], [None, targets])}, version=5)


def _nodes(trees: Sequence[Any], prefix: str, *, doubles: bool) -> dict[str, Any]:
    rows: list[list[Any]] = []
    weights: list[tuple[int, int, int, float]] = []
    for number, tree in enumerate(trees):
        stack, following = [(tree, 0)], 1
        while stack:
            current, place = stack.pop()
            if isinstance(current, list):
                rows.append([number, place, 0, "LEAF", 0.0, 0, 0, 0])
                weights += [(number, place, target, float(weight)) for target, weight in current]
                continue
            feature, mode, threshold, true, false, *tracks = current
            rows.append([number, place, feature, mode, float(threshold), following, following + 1, int(any(tracks))])
            stack += [(true, following), (false, following + 1)]
            following += 2
    names = (
        "treeids",
        "nodeids",
        "featureids",
        "modes",
        "values",
        "truenodeids",
        "falsenodeids",
        "missing_value_tracks_true",
    )
    rows.sort(key=lambda row: (row[0], row[1]))
    held: dict[str, Any] = {
        f"nodes_{name}": list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    kinds = ("treeids", "nodeids", "ids", "weights")
    held |= {f"{prefix}_{name}": list(column) for name, column in zip(kinds, zip(*weights, strict=True), strict=True)}
    if doubles:
        for name in ("nodes_values", f"{prefix}_weights"):
            held[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(held.pop(name), np.float64))
    return held


def _model(node: Any, columns: int, dtype: str, outputs: dict[str, Any], version: int = 3) -> bytes:
    graph = helper.make_graph(
        [node],
        "ensemble",
        [helper.make_tensor_value_info("X", _TYPES[dtype], [None, columns])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    onnx.checker.check_model(model)
    return model
