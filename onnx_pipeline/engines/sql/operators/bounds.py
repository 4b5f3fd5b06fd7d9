"""Max, Min, Clip: a missing value stays one. https://onnx.ai/onnx/operators/onnx__Clip.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.extremes import extreme
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["clip", "clipped", "maximum", "minimum"]


def maximum(node: Node) -> Tensor:
    """The largest of any number of tensors, place by place."""
    return together(lambda *cells: extreme(cells, largest=True), *_all(node))


def minimum(node: Node) -> Tensor:
    """The smallest of any number of tensors, place by place."""
    return together(lambda *cells: extreme(cells, largest=False), *_all(node))


def _all(node: Node) -> list[Tensor]:
    return [node[place].exact() for place in range(len(node.inputs))]


def clip(node: Node) -> Tensor:
    """Between a lowest and a highest value, given as attributes or as inputs.

    One that is left out is the lowest or highest finite number.
    """
    low, high = _bound(node, 1, "min", -1), _bound(node, 2, "max", 1)
    return node[0].map(lambda cell: clipped(cell, low, high))


def _bound(node: Node, place: int, name: str, sign: int) -> Expression | None:
    given = node.input(place)
    if given is not None:
        return given.cells.ravel()[0]  # type: ignore[no-any-return]  # a scalar
    value = node.attribute(name)
    if value is None and any(cell.infinite for cell in node[0]):
        value = sign * float(np.finfo(node[0].dtype).max)
    return None if value is None else algebra.constant(value, node[0].kind)


def clipped(cell: Expression, low: Expression | None, high: Expression | None) -> Expression:
    """No less than `low` and no more than `high`, which counts where the two cross."""
    raised = cell if low is None else conditions.case([(conditions.below(cell, low), low)], cell)
    if high is None:
        return raised
    if low is not None and low.is_constant and high.is_constant and conditions.at_most(low, high) is conditions.TRUE:
        return conditions.case([(conditions.beyond(cell, high), high), (conditions.below(cell, low), low)], cell)
    return conditions.case([(conditions.beyond(raised, high), high)], raised)
