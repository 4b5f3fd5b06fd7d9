"""Functions of one number: Abs, Ceil, Exp, Floor, Log, Round, Sign, Sqrt, Tanh, Sigmoid, Relu.

https://onnx.ai/onnx/operators/onnx__Exp.html and its brothers.
"""

from collections.abc import Callable

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = [
    "absolute",
    "ceiling",
    "exponential",
    "floor",
    "logarithm",
    "relu",
    "rounded",
    "sigmoid",
    "sign",
    "sqrt",
    "tanh",
]


def _function(name: str) -> Callable[[Node], Tensor]:
    def compiled(node: Node) -> Tensor:
        return node[0].map(lambda cell: algebra.function(name, cell))

    compiled.__doc__ = f"`{name}` of every cell."
    return compiled


def _step(name: str) -> Callable[[Node], Tensor]:
    def compiled(node: Node) -> Tensor:
        return node[0].exact().map(lambda cell: algebra.function(name, cell))

    compiled.__doc__ = f"`{name}` of every cell, which jumps: of what the number is in float32."
    return compiled


absolute = _function("abs")
ceiling = _step("ceil")
exponential = _function("exp")
floor = _step("floor")
logarithm = _function("log")
rounded = _step("round_even")
sign = _step("sign")
sqrt = _function("sqrt")
tanh = _function("tanh")


def relu(node: Node) -> Tensor:
    """`max(0, x)`; a missing value stays one."""
    return node[0].map(lambda cell: conditions.case([(conditions.below(cell, zero_of(cell)), zero_of(cell))], cell))


def sigmoid(node: Node) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return node[0].map(logistic)


def logistic(cell: Expression) -> Expression:
    """The sigmoid, in double precision: an exponential that is infinite makes it 0."""
    one = algebra.double(1)
    return algebra.divide(one, algebra.add(one, algebra.function("exp", algebra.negate(algebra.as_double(cell)))))


def zero_of(cell: Expression) -> Expression:
    """Nought of the same kind."""
    return algebra.constant(0, cell.kind)
