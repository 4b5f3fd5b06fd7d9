"""And, Or, Not, Xor. https://onnx.ai/onnx/operators/onnx__And.html and its brothers."""

from onnx_pipeline.engines.sql.conditions import all_of, any_of, negation
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["both", "either", "exclusive", "inverted"]


def both(node: Node) -> Tensor:
    """`A and B`."""
    return together(all_of, node[0], node[1])


def either(node: Node) -> Tensor:
    """`A or B`."""
    return together(any_of, node[0], node[1])


def exclusive(node: Node) -> Tensor:
    """One of them, and not both."""
    return together(lambda a, b: any_of(all_of(a, negation(b)), all_of(negation(a), b)), node[0], node[1])


def inverted(node: Node) -> Tensor:
    """`not A`."""
    return node[0].map(negation)
