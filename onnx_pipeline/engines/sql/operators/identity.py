"""Identity: what comes in. https://onnx.ai/onnx/operators/onnx__Identity.html"""

from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["identity"]


def identity(node: Node) -> Tensor:
    """The input."""
    return node[0]
