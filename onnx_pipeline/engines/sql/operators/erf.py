"""Erf: the error function, which databases do not have. https://onnx.ai/onnx/operators/onnx__Erf.html"""

import math
from functools import reduce

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.algebra import add, divide, double, function, multiply, negate, subtract
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["erf", "error_function"]

_COEFFICIENTS = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
)  # fmt: skip
"""Numerical Recipes, 6.2: Chebyshev coefficients of the logarithm of erfc in 1 / (1 + |x| / 2)."""
_NEAR = 0.5
"""Below it the series: the difference of 1 and erfc has 1e-7 and no sign of its own there, and is not 0 at 0."""
_SERIES = tuple(2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(7))
"""Maclaurin's, of erf(x) / x in the square of x: to 1e-9 of the value. https://dlmf.nist.gov/7.6#E1"""


def erf(node: Node) -> Tensor:
    """The error function of every cell."""
    return node[0].map(error_function)


def error_function(cell: Expression) -> Expression:
    """To 1e-7, in double precision; beside 0 to 1e-7 of the value."""
    wide = algebra.as_double(cell)
    size = function("abs", wide)
    part = divide(double(1), add(double(1), multiply(double(0.5), size)))
    exponent = subtract(_polynomial(_COEFFICIENTS, part), multiply(size, size))
    far = subtract(double(1), multiply(part, function("exp", exponent)))
    near = multiply(wide, _polynomial(_SERIES, multiply(wide, wide)))
    ways = [(conditions.below(size, double(_NEAR)), near), (conditions.below(wide, double(0)), negate(far))]
    return conditions.case(ways, far)


def _polynomial(coefficients: tuple[float, ...], variable: Expression) -> Expression:
    return reduce(
        lambda sum_, each: add(double(each), multiply(variable, sum_)),
        coefficients[-2::-1],
        double(coefficients[-1]),
    )
