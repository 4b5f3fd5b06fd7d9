"""What support vector machines compare rows by: the kernels of SVMClassifier and SVMRegressor.

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/svmclassifier.h
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.linear import weighted

__all__ = ["Kernel", "kernel_of", "kernels", "sum_of"]

_MOST = 6_000
"""Numbers in the support vectors that one statement may hold: each is computed with for every row."""


@dataclass(frozen=True)
class Kernel:
    """A kernel with its parameters."""

    name: str
    gamma: float
    shift: float
    """coef0."""
    degree: float

    def of(self, cells: Sequence[Expression], vector: Sequence[float]) -> Expression:
        """The kernel of a row and one support vector, in double precision."""
        if self.name == "RBF":
            return self._radial(cells, vector)
        if self.name == "LINEAR":
            return weighted(cells, vector, 0.0)
        inner = weighted(cells, [self.gamma * value for value in vector], self.shift)
        if self.name == "SIGMOID":
            return algebra.function("tanh", inner)
        return _to_the(self.degree, inner)

    def _radial(self, cells: Sequence[Expression], vector: Sequence[float]) -> Expression:
        apart = [
            algebra.as_double(algebra.subtract(cell, algebra.constant(value, Kind.FLOAT)))
            for cell, value in zip(cells, vector, strict=True)
        ]
        distance = algebra.total([algebra.multiply(each, each) for each in apart])
        return algebra.function("exp", algebra.multiply(distance, algebra.double(-self.gamma)))


def _to_the(degree: float, base: Expression) -> Expression:
    """Whole powers by products, which keep the sign and fail nowhere."""
    if degree != int(degree) or not 0 <= degree <= 16:  # more than anybody trains with
        return algebra.power(base, algebra.double(degree))
    made = algebra.double(1)
    for _ in range(int(degree)):
        made = algebra.multiply(made, base)
    return made


def kernel_of(node: Node) -> Kernel:
    """From `kernel_type` and `kernel_params`: gamma, coef0 and degree, of float32."""
    name = node.attribute("kernel_type", "LINEAR")
    given = node.attribute("kernel_params") or [0.0, 0.0, 0.0]
    gamma, shift, degree = (float(np.float32(value)) for value in given[:3])
    # ONNX Runtime takes every other name for SIGMOID.
    return Kernel(name if name in ("LINEAR", "POLY", "RBF") else "SIGMOID", gamma, shift, degree)


def kernels(node: Node, cells: Sequence[Expression], count: int) -> list[Expression]:
    """The kernel of a row with each of `count` support vectors. Raises NotCompilableError for too many."""
    numbers: Any = np.asarray(node.attribute("support_vectors", []), np.float32)
    if numbers.size != count * len(cells):
        raise node.refused(
            f"it has {numbers.size} numbers in its support vectors, and {count} vectors of {len(cells)} features"
        )
    if numbers.size > _MOST:
        raise node.refused(
            f"it has {count} support vectors of {len(cells)} features: {numbers.size:,} numbers to compute with for "
            f"every row, and a statement takes at most {_MOST:,}. Score by `kind: onnxruntime`; or train with fewer "
            "vectors (a larger C, fewer rows), or approximate the kernel, e.g. by Nystroem and a linear model"
        )
    kernel = kernel_of(node)
    vectors = numbers.reshape(count, len(cells)).tolist()
    return [kernel.of(cells, vector) for vector in vectors]


def sum_of(found: Sequence[Expression], coefficients: Sequence[float], shift: float) -> Expression:
    """Kernels times their coefficients, and rho, which ONNX adds. A coefficient of zero adds nothing."""
    kept = [(each, value) for each, value in zip(found, coefficients, strict=True) if value != 0]
    return weighted([each for each, _ in kept], [value for _, value in kept], shift)
