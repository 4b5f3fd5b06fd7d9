"""IsNaN and IsInf. https://onnx.ai/onnx/operators/onnx__IsNaN.html"""

import math

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["is_inf", "is_nan"]


def is_nan(node: Node) -> Tensor:
    """Whether a value is missing."""
    return node[0].exact().map(conditions.is_missing, bool)


def is_inf(node: Node) -> Tensor:
    """Whether a value is infinite, of the signs that are asked for."""
    signs = [math.inf] * node.attribute("detect_positive", 1) + [-math.inf] * node.attribute("detect_negative", 1)

    def one(cell: Expression) -> Expression:
        if not cell.infinite:
            return conditions.FALSE
        return conditions.any_of(*(conditions.equals(cell, algebra.constant(sign, cell.kind)) for sign in signs))

    return node[0].exact().map(one, bool)
