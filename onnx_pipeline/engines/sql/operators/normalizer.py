"""Normalizer: https://onnx.ai/onnx/operators/onnx_aionnxml_Normalizer.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/normalizer.cc
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions, extremes
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["normalizer"]

_ZERO = algebra.constant(0, Kind.FLOAT)


def normalizer(node: Node) -> Tensor:
    """`[N, F]` of float32, each row divided by its norm; a row whose norm is zero stays as it is."""
    norm = node.attribute("norm", "MAX")
    if norm not in _NORMS:
        raise node.refused(f"norm {norm!r} is none of {', '.join(_NORMS)}")
    return Tensor.of_cells([_NORMS[norm](features_of(node))], np.float32)


def _divided(cells: Sequence[Expression], norm: Expression, quotients: Sequence[Expression]) -> list[Expression]:
    is_zero = conditions.equals(norm, _ZERO)
    return [conditions.case([(is_zero, cell)], quotient) for cell, quotient in zip(cells, quotients, strict=True)]


def _by_largest(cells: Sequence[Expression]) -> list[Expression]:
    """By the largest value, not the largest size; NaN counts as none."""
    top = extremes.present_extreme(cells, largest=True)
    return _divided(cells, top, [algebra.divide(cell, top) for cell in cells])


def _by_sum(cells: Sequence[Expression]) -> list[Expression]:
    whole = algebra.narrow(algebra.total([algebra.function("abs", cell) for cell in cells]))
    return _divided(cells, whole, [algebra.divide(cell, whole) for cell in cells])


def _by_squares(cells: Sequence[Expression]) -> list[Expression]:
    """By squares of float32: one that is too large or too small for it counts as infinite or zero."""
    squares = [algebra.multiply(cell, cell) for cell in cells]
    whole = algebra.narrow(algebra.total(squares))
    roots = [algebra.narrow(algebra.function("sqrt", algebra.divide(square, whole))) for square in squares]
    signed = [
        conditions.case([(conditions.below(cell, _ZERO), algebra.negate(root))], root)
        for cell, root in zip(cells, roots, strict=True)
    ]
    return _divided(cells, whole, signed)


_NORMS: Mapping[str, Callable[[Sequence[Expression]], list[Expression]]] = {
    "MAX": _by_largest,
    "L1": _by_sum,
    "L2": _by_squares,
}
