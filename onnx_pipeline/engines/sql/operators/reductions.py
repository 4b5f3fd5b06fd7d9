"""ReduceSum, ReduceMean, ReduceMax and their brothers, along axes that are not that of the rows.

https://onnx.ai/onnx/operators/onnx__ReduceSum.html
"""

import math
from collections.abc import Callable
from functools import reduce

from onnx_pipeline.engines.sql import algebra, conditions, extremes
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axes_of, not_rows, reduced
from onnx_pipeline.engines.sql.operators.reshape import squeezed
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = [
    "l1",
    "l2",
    "log_sum",
    "log_sum_exp",
    "maximum",
    "mean",
    "minimum",
    "product",
    "sum_of",
    "sum_of_squares",
]

Cells = list[Expression]


def _reduced(node: Node, compute: Callable[[Cells], Expression], *, exact: bool = False) -> Tensor:
    tensor = node[0].exact() if exact else node[0]
    rank = tensor.cells.ndim
    axes = axes_of(node, rank)
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return reduced(tensor, [], compute)
        axes = list(range(rank))
    not_rows(node, tensor, axes)
    made = reduced(tensor, axes, compute)
    return made if node.attribute("keepdims", 1) else squeezed(made, axes)


def _total(cells: Cells) -> Expression:
    return algebra.total(cells, Kind.INTEGER if cells[0].kind is Kind.INTEGER else Kind.DOUBLE)


def _squares(cells: Cells) -> Cells:
    wide = [cell if cell.kind is Kind.INTEGER else algebra.as_double(cell) for cell in cells]
    return [algebra.multiply(cell, cell) for cell in wide]


def sum_of(node: Node) -> Tensor:
    """The sum."""
    return _reduced(node, _total)


def mean(node: Node) -> Tensor:
    """The mean."""
    return _reduced(node, lambda cells: algebra.divide(_total(cells), algebra.constant(len(cells), _total(cells).kind)))


def maximum(node: Node) -> Tensor:
    """The largest."""
    return _reduced(node, lambda cells: _present(cells, largest=True), exact=True)


def minimum(node: Node) -> Tensor:
    """The smallest."""
    return _reduced(node, lambda cells: _present(cells, largest=False), exact=True)


def _present(cells: Cells, *, largest: bool) -> Expression:
    """A missing value is passed over, but the first one, as ONNX Runtime compares one after the other."""
    if cells[0].kind is Kind.BOOLEAN:
        return conditions.any_of(*cells) if largest else conditions.all_of(*cells)
    found = extremes.present_extreme(cells, largest=largest)
    return conditions.case([(conditions.is_missing(cells[0]), algebra.absent(cells[0].kind))], found)


def product(node: Node) -> Tensor:
    """The product."""
    return _reduced(node, lambda cells: reduce(algebra.multiply, cells))


def sum_of_squares(node: Node) -> Tensor:
    """The sum of the squares."""
    return _reduced(node, lambda cells: _total(_squares(cells)))


def l1(node: Node) -> Tensor:
    """The sum of what they are without their signs."""
    return _reduced(node, lambda cells: _total([algebra.function("abs", cell) for cell in cells]))


def l2(node: Node) -> Tensor:
    """The root of the sum of the squares."""
    return _reduced(node, lambda cells: algebra.function("sqrt", _total(_squares(cells))))


def log_sum(node: Node) -> Tensor:
    """The logarithm of the sum."""
    return _reduced(node, lambda cells: algebra.function("log", _total(cells)))


def log_sum_exp(node: Node) -> Tensor:
    """The logarithm of the sum of the exponentials, which are taken of the distance to the largest."""
    return _reduced(node, log_of_exponentials)


def log_of_exponentials(cells: Cells) -> Expression:
    """The same of a list of cells, in double precision."""
    wide = [algebra.as_double(cell) for cell in cells]
    top = extremes.extreme(wide, largest=True)
    powers = [algebra.function("exp", algebra.subtract(cell, top)) for cell in wide]
    found = algebra.add(top, algebra.function("log", algebra.total(powers)))
    if not top.infinite:
        return found
    ends = [conditions.equals(top, algebra.double(end)) for end in (math.inf, -math.inf)]
    return conditions.case([(conditions.any_of(*ends), top)], found)
