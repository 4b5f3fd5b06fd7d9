"""Equal, Less, LessOrEqual, Greater, GreaterOrEqual.

https://onnx.ai/onnx/operators/onnx__Equal.html and its brothers.
"""

from collections.abc import Callable

from onnx_pipeline.engines.sql import conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["equal", "greater", "greater_or_equal", "less", "less_or_equal"]


def _compared(node: Node, test: Callable[[Expression, Expression], Expression]) -> Tensor:
    return together(test, node[0].exact(), node[1].exact(), dtype=bool)


def equal(node: Node) -> Tensor:
    """`A = B`. A number of rows is no negative number, which exporters ask of shapes."""

    def same(a: Expression, b: Expression) -> Expression:
        for one, other in ((a, b), (b, a)):
            if one.op == "row_count" and other.is_constant and int(other.value or 0) < 0:
                return conditions.FALSE
        return conditions.equals(a, b)

    return _compared(node, same)


def less(node: Node) -> Tensor:
    """`A < B`."""
    return _compared(node, conditions.below)


def less_or_equal(node: Node) -> Tensor:
    """`A <= B`."""
    return _compared(node, conditions.at_most)


def greater(node: Node) -> Tensor:
    """`A > B`."""
    return _compared(node, conditions.beyond)


def greater_or_equal(node: Node) -> Tensor:
    """`A >= B`."""
    return _compared(node, conditions.at_least)
