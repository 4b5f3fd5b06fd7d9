"""Models of one node, for operators that no exporter is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

_DTYPES = {
    "f": TensorProto.FLOAT,
    "d": TensorProto.DOUBLE,
    "i": TensorProto.INT64,
    "s": TensorProto.STRING,
    "b": TensorProto.BOOL,
}


def single(
    op: str,
    inputs: Mapping[str, tuple[str, list[Any]]],
    outputs: Mapping[str, tuple[str, list[Any]]],
    *,
    version: int = 3,
    constants: Mapping[str, Any] | None = None,
    flattened: bool = False,
    **attributes: Any,
) -> bytes:
    """A model of one node of ai.onnx.ml. Inputs and outputs are name → (one of f, d, i, s, b; shape).

    `flattened` makes rows of columns of an only output, which has more axes.
    """
    weights = {name: np.asarray(value) for name, value in (constants or {}).items()}
    made = ["deep"] if flattened else [*outputs]
    nodes = [helper.make_node(op, [*inputs, *weights], made, name="it", domain="ai.onnx.ml", **attributes)]
    if flattened:
        nodes.append(helper.make_node("Flatten", made, [*outputs], axis=1))
    graph = helper.make_graph(
        nodes,
        "single",
        [helper.make_tensor_value_info(name, _DTYPES[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, _DTYPES[kind], shape) for name, (kind, shape) in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def matrix(kind: str, columns: int) -> tuple[str, list[Any]]:
    """`[N, columns]`."""
    return kind, ["N", columns]
