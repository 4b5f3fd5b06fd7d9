"""ArgMax, ArgMin, TopK of one: where the largest value stands. https://onnx.ai/onnx/operators/onnx__ArgMax.html"""

import numpy as np

from onnx_pipeline.engines.sql import extremes
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, not_rows, reduced
from onnx_pipeline.engines.sql.operators.reshape import squeezed
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["arg_max", "arg_min", "top_k"]


def arg_max(node: Node) -> Tensor:
    """The place of the largest along an axis: of equals the first, or the last where `select_last_index` says so."""
    return _place(node, largest=True)


def arg_min(node: Node) -> Tensor:
    """The place of the smallest."""
    return _place(node, largest=False)


def _place(node: Node, *, largest: bool) -> Tensor:
    tensor = node[0].exact()
    axis = axis_of(node, node.attribute("axis", 0), tensor.cells.ndim)
    not_rows(node, tensor, [axis])
    last = bool(node.attribute("select_last_index", 0))
    made = reduced(tensor, [axis], lambda cells: extremes.place_of_extreme(cells, largest=largest, last=last))
    places = Tensor(made.cells, np.dtype(np.int64), made.rows)
    return places if node.attribute("keepdims", 1) else squeezed(places, [axis])


def top_k(node: Node) -> list[Tensor]:
    """The largest or smallest value and its place. Of more than one there is no form in SQL."""
    count = node.attribute("k") if node.input(1) is None else int(node.constant(1).ravel()[0])
    if count != 1:
        raise node.refused(f"the first {count} of a list have no form in SQL, only the first one has")
    tensor = node[0].exact()
    axis = axis_of(node, node.attribute("axis", -1), tensor.cells.ndim)
    not_rows(node, tensor, [axis])
    largest = bool(node.attribute("largest", 1))
    values = reduced(tensor, [axis], lambda cells: extremes.first_in_order(cells, largest=largest)[0])
    places = reduced(tensor, [axis], lambda cells: extremes.first_in_order(cells, largest=largest)[1])
    return [values, Tensor(places.cells, np.dtype(np.int64), places.rows)]
