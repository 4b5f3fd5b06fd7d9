"""Add, Sub, Mul, Div, Neg, Pow, Mod, Sum, Mean: cell by cell, with numpy's broadcasting.

https://onnx.ai/onnx/operators/onnx__Add.html and its brothers.
"""

from functools import reduce

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["add", "divide", "mean", "multiply", "negate", "power", "reciprocal", "subtract", "summed"]


def add(node: Node) -> Tensor:
    """`A + B`."""
    return together(algebra.add, node[0], node[1])


def subtract(node: Node) -> Tensor:
    """`A - B`."""
    return together(algebra.subtract, node[0], node[1])


def multiply(node: Node) -> Tensor:
    """`A * B`."""
    return together(algebra.multiply, node[0], node[1])


def divide(node: Node) -> Tensor:
    """`A / B`; of integers, cut towards zero."""
    return together(algebra.divide, node[0], node[1])


def negate(node: Node) -> Tensor:
    """`-A`."""
    return node[0].map(algebra.negate)


def reciprocal(node: Node) -> Tensor:
    """`1 / A`."""
    return node[0].map(lambda cell: algebra.divide(algebra.constant(1, cell.kind), cell))


def power(node: Node) -> Tensor:
    """`A` to the power of `B`, of the type of `A`; squares and cubes are products, as ONNX Runtime has them."""
    whole = node[0].kind is Kind.INTEGER

    def one(base: Expression, exponent: Expression) -> Expression:
        if exponent.is_constant and exponent.value in (1, 2, 3):
            return reduce(algebra.multiply, [base] * int(exponent.value))
        raised = algebra.power(base, exponent)
        return algebra.as_integer(raised) if whole else raised

    return together(one, node[0], node[1])


def summed(node: Node) -> Tensor:
    """The sum of any number of tensors."""
    return together(lambda *cells: reduce(algebra.add, cells), *_all(node))


def mean(node: Node) -> Tensor:
    """The mean of any number of tensors."""
    tensors = _all(node)
    return together(
        lambda *cells: algebra.divide(reduce(algebra.add, cells), algebra.constant(len(cells), cells[0].kind)), *tensors
    )


def _all(node: Node) -> list[Tensor]:
    return [node[place] for place in range(len(node.inputs))]
