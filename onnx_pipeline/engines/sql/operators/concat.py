"""Concat: tensors side by side. https://onnx.ai/onnx/operators/onnx__Concat.html"""

import numpy as np

from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["concat"]


def concat(node: Node) -> Tensor:
    """Along an axis that is not that of the rows."""
    tensors = [node[place] for place in range(len(node.inputs))]
    axis = axis_of(node, node.attribute("axis", 1), tensors[0].cells.ndim)
    for tensor in tensors:
        not_rows(node, tensor, [axis])
    rows = {tensor.rows for tensor in tensors}
    if len(rows) > 1:
        raise node.refused("some of its inputs have a value for each row, and others a certain number of them")
    return Tensor(np.concatenate([tensor.cells for tensor in tensors], axis), tensors[0].dtype, rows.pop())
