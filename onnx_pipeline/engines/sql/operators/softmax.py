"""Softmax, LogSoftmax, Hardmax. https://onnx.ai/onnx/operators/onnx__Softmax.html"""

from collections.abc import Callable

from onnx_pipeline.engines.sql import algebra, conditions, extremes
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, changed, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["hardmax", "log_softmax", "softmax", "softmax_of"]

_ALONG_ONE_AXIS = 13
"""The operator set since which it is along one axis, and no longer along all from there."""


def _changed(node: Node, compute: Callable[[list[Expression]], list[Expression]]) -> Tensor:
    tensor = node[0]
    rank = tensor.cells.ndim
    flattens = node.version < _ALONG_ONE_AXIS
    axis = axis_of(node, node.attribute("axis", 1 if flattens else -1), rank)
    axes = list(range(axis, rank)) if flattens else [axis]
    not_rows(node, tensor, axes)
    return changed(tensor, axes, compute)


def softmax(node: Node) -> Tensor:
    """Exponentials as parts of their sum."""
    return _changed(node, softmax_of)


def softmax_of(cells: list[Expression]) -> list[Expression]:
    """The same of a list of cells, in double precision: of the distances to the largest, so that none overflows."""
    powers = [algebra.function("exp", cell) for cell in _distances(cells)]
    whole = algebra.total(powers)
    return [algebra.divide(power, whole) for power in powers]


def log_softmax(node: Node) -> Tensor:
    """The logarithms of the softmax."""
    return _changed(node, _log_softmax_of)


def _log_softmax_of(cells: list[Expression]) -> list[Expression]:
    distances = _distances(cells)
    whole = algebra.function("log", algebra.total([algebra.function("exp", each) for each in distances]))
    return [algebra.subtract(each, whole) for each in distances]


def _distances(cells: list[Expression]) -> list[Expression]:
    wide = [algebra.as_double(cell) for cell in cells]
    top = extremes.extreme(wide, largest=True)
    return [algebra.subtract(cell, top) for cell in wide]


def hardmax(node: Node) -> Tensor:
    """1 at the first largest, 0 elsewhere; 0 everywhere where the first value is missing."""

    def one(cells: list[Expression]) -> list[Expression]:
        best = extremes.place_of_extreme([_rounded(node, cell) for cell in cells])
        best = conditions.case([(conditions.is_missing(cells[0]), algebra.integer(-1))], best)
        one, zero = (algebra.constant(value, node[0].kind) for value in (1, 0))
        return [
            conditions.case([(conditions.equals(best, algebra.integer(place)), one)], zero)
            for place in range(len(cells))
        ]

    return _changed(node, one)


def _rounded(node: Node, cell: Expression) -> Expression:
    return algebra.narrow(cell) if node[0].kind is Kind.FLOAT else cell
