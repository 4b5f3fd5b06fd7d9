"""Sums of weighted features: what linear models score by."""

from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["scores_of", "weighted"]


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
    return [
        algebra.narrow(weighted(cells, row.tolist(), intercept))
        for row, intercept in zip(weights, np.asarray(intercepts, np.float32).tolist(), strict=True)
    ]
