"""Add, Sub, Mul, Div, Neg: cell by cell, with numpy's broadcasting.

https://onnx.ai/onnx/operators/onnx__Add.html and its brothers.
"""

from collections.abc import Callable

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor, broadcast

__all__ = ["add", "divide", "multiply", "negate", "subtract"]


def _both(node: Node, compute: Callable[[Expression, Expression], Expression]) -> Tensor:
    (left, right), rows = broadcast(node[0], node[1])
    cells = np.empty(left.shape, object)
    cells.ravel()[:] = [compute(a, b) for a, b in zip(left.ravel(), right.ravel(), strict=True)]
    return Tensor(cells, node[0].dtype, rows)


def add(node: Node) -> Tensor:
    """`A + B`."""
    return _both(node, algebra.add)


def subtract(node: Node) -> Tensor:
    """`A - B`."""
    return _both(node, algebra.subtract)


def multiply(node: Node) -> Tensor:
    """`A * B`."""
    return _both(node, algebra.multiply)


def divide(node: Node) -> Tensor:
    """`A / B`; of integers, cut towards zero."""
    return _both(node, algebra.divide)


def negate(node: Node) -> Tensor:
    """`-A`."""
    return node[0].map(algebra.negate)
