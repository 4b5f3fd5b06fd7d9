"""Nodes that no row decides are computed while compiling, by ONNX's own reference implementation."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["folded"]


def folded(proto: onnx.NodeProto, node: Node, model: onnx.ModelProto) -> Sequence[Tensor]:
    """The constants that a node of constants gives. Raises NotCompilableError for one that rows decide."""
    if any(tensor is not None and not tensor.is_constant for tensor in node.inputs):
        raise node.refused("no form of this operator in SQL is known")
    feeds = {name: tensor.array for name, tensor in zip(proto.input, node.inputs, strict=True) if tensor is not None}
    inputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in proto.output]
    graph = onnx.helper.make_graph([proto], "constant", inputs, outputs)
    single = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        made = ReferenceEvaluator(single).run(None, feeds)
    except Exception as error:  # the reference raises whatever numpy does
        raise node.refused(f"it is the same for every row, and computing it failed: {error}") from error
    return [Tensor.of_array(np.asarray(value)) for value in made]
