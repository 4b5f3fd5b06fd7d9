"""Sums of weighted features: what linear models score by."""

from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["scores_of", "weighted"]

_TWO = 2


def weighted(cells: Sequence[Expression], weights: Sequence[float], constant: float) -> Expression:
    """The sum of products and of the constant, in double precision."""
    products = [
        algebra.multiply(algebra.as_double(cell), algebra.double(float(weight)))
        for cell, weight in zip(cells, weights, strict=True)
    ]
    return algebra.total([*products, algebra.double(float(constant))])


def scores_of(
    node: Node, cells: Sequence[Expression], coefficients: Sequence[float], intercepts: Sequence[float]
) -> list[Expression]:
    """One score of float32 per intercept; `coefficients` are `[targets, features]`."""
    if len(coefficients) != len(intercepts) * len(cells):
        raise node.refused(
            f"it has {len(coefficients)} coefficients for {len(intercepts)} scores of {len(cells)} features"
        )
    weights = np.asarray(coefficients, np.float32).reshape(len(intercepts), len(cells))
    constants = np.asarray(intercepts, np.float32)
    first = algebra.narrow(weighted(cells, weights[0].tolist(), float(constants[0])))
    if len(weights) == _TWO and np.array_equal(weights[0], -weights[1]) and constants[0] == -constants[1]:
        # As scikit-learn's models of two classes are exported: the second sum is the first one's opposite to the bit.
        return [first, algebra.negate(first)]
    rest = zip(weights[1:].tolist(), constants[1:].tolist(), strict=True)
    return [first, *(algebra.narrow(weighted(cells, row, constant)) for row, constant in rest)]
