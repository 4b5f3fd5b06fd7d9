"""Activations of networks, by the formulas of their pages, each with ONNX Runtime's answer for what is missing.

https://onnx.ai/onnx/operators/onnx__Elu.html and its brothers.
"""

from collections.abc import Callable

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.algebra import add, divide, function, multiply, subtract
from onnx_pipeline.engines.sql.conditions import beyond, case
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.bounds import clipped
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.operators.erf import error_function
from onnx_pipeline.engines.sql.operators.functions import logistic, zero_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "mish",
    "p_relu",
    "selu",
    "softplus",
    "softsign",
    "swish",
    "thresholded_relu",
]


def _like(cell: Expression, value: float) -> Expression:
    return algebra.constant(value, cell.kind)


def _where_negative(node: Node, compute: Callable[[Expression], Expression]) -> Tensor:
    """The input where it is not below 0: a missing value stays one."""
    return node[0].map(lambda cell: case([(conditions.below(cell, zero_of(cell)), compute(cell))], cell))


def _grown(cell: Expression) -> Expression:
    """`exp(x) - 1` of a negative number."""
    return subtract(function("exp", cell), algebra.double(1))


def leaky_relu(node: Node) -> Tensor:
    """`alpha * x` below 0."""
    return _where_negative(node, lambda cell: multiply(_like(cell, node.attribute("alpha", 0.01)), cell))


def elu(node: Node) -> Tensor:
    """`alpha * (exp(x) - 1)` below 0."""
    alpha = algebra.double(node.attribute("alpha", 1.0))
    return _where_negative(node, lambda cell: multiply(alpha, _grown(cell)))


def celu(node: Node) -> Tensor:
    """`alpha * (exp(x / alpha) - 1)` below 0."""
    alpha = algebra.double(node.attribute("alpha", 1.0))
    return _where_negative(node, lambda cell: multiply(alpha, _grown(divide(algebra.as_double(cell), alpha))))


def selu(node: Node) -> Tensor:
    """`gamma * x`, and below 0 `gamma * alpha * (exp(x) - 1)`."""
    alpha = algebra.double(node.attribute("alpha", 1.6732632423543772))
    gamma = algebra.double(node.attribute("gamma", 1.0507009873554805))

    def one(cell: Expression) -> Expression:
        below = multiply(alpha, _grown(cell))
        return multiply(gamma, case([(conditions.below(cell, zero_of(cell)), below)], algebra.as_double(cell)))

    return node[0].map(one)


def p_relu(node: Node) -> Tensor:
    """`slope * x` below 0."""

    def one(cell: Expression, slope: Expression) -> Expression:
        return case([(conditions.below(cell, zero_of(cell)), multiply(slope, cell))], cell)

    return together(one, node[0], node[1])


def thresholded_relu(node: Node) -> Tensor:
    """`x` where it is greater than `alpha`, else 0: so also for a missing value."""
    alpha = node.attribute("alpha", 1.0)
    return node[0].exact().map(lambda cell: case([(beyond(cell, _like(cell, alpha)), cell)], zero_of(cell)))


def softplus(node: Node) -> Tensor:
    """`log(1 + exp(x))`, of the exponential that does not overflow."""
    return node[0].map(softplus_of)


def softplus_of(cell: Expression) -> Expression:
    """The same of one cell, in double precision."""
    wide = algebra.as_double(cell)
    nought = algebra.double(0)
    part = function("exp", algebra.negate(function("abs", wide)))
    return add(case([(conditions.below(wide, nought), nought)], wide), function("log", add(algebra.double(1), part)))


def softsign(node: Node) -> Tensor:
    """`x / (1 + |x|)`."""
    return node[0].exact().map(lambda cell: divide(cell, add(_like(cell, 1), function("abs", cell))))


def hard_sigmoid(node: Node) -> Tensor:
    """`alpha * x + beta` between 0 and 1."""
    return node[0].map(lambda cell: _ramp(cell, node.attribute("alpha", 0.2), node.attribute("beta", 0.5)))


def hard_swish(node: Node) -> Tensor:
    """`x` times its hard sigmoid of slope 1/6."""
    return node[0].map(lambda cell: multiply(cell, _ramp(cell, 1 / 6, 0.5)))


def _ramp(cell: Expression, slope: float, offset: float) -> Expression:
    line = add(multiply(cell, _like(cell, slope)), _like(cell, offset))
    return clipped(line, zero_of(cell), _like(cell, 1))


def swish(node: Node) -> Tensor:
    """`x * sigmoid(alpha * x)`."""
    alpha = algebra.double(node.attribute("alpha", 1.0))

    def one(cell: Expression) -> Expression:
        wide = algebra.as_double(cell)
        return multiply(wide, logistic(multiply(alpha, wide)))

    return node[0].map(one)


def mish(node: Node) -> Tensor:
    """`x * tanh(softplus(x))`."""
    return node[0].map(lambda cell: multiply(algebra.as_double(cell), function("tanh", softplus_of(cell))))


def gelu(node: Node) -> Tensor:
    """`x` times the share of a normal distribution below it, exact or by the tangent."""
    tangent = node.attribute("approximate", "none") == "tanh"

    def one(cell: Expression) -> Expression:
        wide = algebra.as_double(cell)
        half = multiply(algebra.double(0.5), wide)
        return multiply(half, add(algebra.double(1), _by_tangent(wide) if tangent else _by_error(wide)))

    return node[0].map(one)


def _by_error(cell: Expression) -> Expression:
    return error_function(multiply(cell, algebra.double(0.5**0.5)))


def _by_tangent(cell: Expression) -> Expression:
    cube = multiply(multiply(cell, cell), cell)
    inner = add(cell, multiply(algebra.double(0.044715), cube))
    return function("tanh", multiply(algebra.double(0.7978845608028654), inner))
