"""Erf: the error function, which databases do not have. https://onnx.ai/onnx/operators/onnx__Erf.html"""

from functools import reduce

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.algebra import add, divide, double, function, multiply, negate, subtract
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["erf", "error_function"]

_NEAR = 0.5
_SERIES = tuple(1.1283791670955126 / each for each in (1, -3, 10, -42, 216, -1320, 9360))
"""2/√π times the first terms of the series in x², to 1e-9 below 0.5."""
_FAR = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
)  # fmt: skip
"""Numerical Recipes, 6.2: Chebyshev coefficients of erfc in 1 / (1 + |x| / 2), to 1.2e-7 of erfc."""


def erf(node: Node) -> Tensor:
    """The error function of every cell."""
    return node[0].map(error_function)


def error_function(cell: Expression) -> Expression:
    """To 1e-7, in double precision."""
    wide = algebra.as_double(cell)
    size = function("abs", wide)
    part = divide(double(1), add(double(1), multiply(double(0.5), size)))
    exponent = subtract(_polynomial(_FAR, part), multiply(size, size))
    far = subtract(double(1), multiply(part, function("exp", exponent)))
    signed = conditions.case([(conditions.below(wide, double(0)), negate(far))], far)
    near = multiply(wide, _polynomial(_SERIES, multiply(wide, wide)))
    return conditions.case([(conditions.below(size, double(_NEAR)), near)], signed)


def _polynomial(coefficients: tuple[float, ...], variable: Expression) -> Expression:
    return reduce(
        lambda sum_, each: add(double(each), multiply(variable, sum_)),
        coefficients[-2::-1],
        double(coefficients[-1]),
    )
