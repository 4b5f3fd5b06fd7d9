"""BatchNormalization in inference, LayerNormalization, Dropout in inference.

https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.algebra import add, as_double, divide, double, function, multiply, subtract, total
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, changed, not_rows
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["batch_normalization", "dropout", "layer_normalization"]


def batch_normalization(node: Node) -> list[Tensor]:
    """`[N, C, ...]` with the mean and variance of the training: one product and one sum per cell."""
    if node.attribute("training_mode", 0):
        raise node.refused("in training it looks at every row of the batch; export the model for inference")
    tensor = node[0]
    scale, offset, mean, variance = (node.constant(place).astype(np.float64) for place in range(1, 5))
    factor = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    if tensor.rows != 0 or tensor.cells.ndim < 2:
        raise node.refused(f"the shape is {tensor.described}, and [N, C, ...] is what it takes")
    across = [1, -1] + [1] * (tensor.cells.ndim - 2)
    weights, rest = (Tensor.of_array(each.reshape(across)) for each in (factor, offset - mean * factor))
    return [together(lambda x, w, c: add(multiply(as_double(x), w), c), tensor, weights, rest)]


def layer_normalization(node: Node) -> list[Tensor]:
    """Each row's own features with mean 0 and variance 1, then scaled and moved."""
    tensor = node[0]
    rank = tensor.cells.ndim
    axes = list(range(axis_of(node, node.attribute("axis", -1), rank), rank))
    not_rows(node, tensor, axes)
    epsilon = double(node.attribute("epsilon", 1e-5))

    def one(cells: list[Expression]) -> list[Expression]:
        count = double(len(cells))
        mean = divide(total(cells), count)
        distances = [subtract(as_double(cell), mean) for cell in cells]
        variance = divide(total([multiply(each, each) for each in distances]), count)
        spread = function("sqrt", add(variance, epsilon))
        return [divide(each, spread) for each in distances]

    made = together(multiply, changed(tensor, axes, one), node[1])
    return [made if node.input(2) is None else together(algebra.add, made, node[2])]


def dropout(node: Node) -> list[Tensor]:
    """What comes in; the mask says that all is kept."""
    training = node.optional_constant(2)
    if training is not None and bool(training):
        raise node.refused("in training it is left to chance; export the model for inference")
    tensor = node[0]
    return [tensor, tensor.map(lambda _: algebra.constant(True, Kind.BOOLEAN), bool)]
