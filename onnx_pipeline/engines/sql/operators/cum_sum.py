"""CumSum: sums from the first to each. https://onnx.ai/onnx/operators/onnx__CumSum.html"""

from itertools import accumulate

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, changed, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["cumulative_sum"]


def cumulative_sum(node: Node) -> Tensor:
    """Along an axis, from the front or in `reverse`, with each value or, where `exclusive`, without it."""
    tensor = node[0]
    axis = axis_of(node, int(node.constant(1).ravel()[0]), tensor.cells.ndim)
    not_rows(node, tensor, [axis])
    backwards = slice(None, None, -1 if node.attribute("reverse", 0) else 1)
    exclusive = bool(node.attribute("exclusive", 0))

    def one(cells: list[Expression]) -> list[Expression]:
        ordered = cells[backwards]
        if exclusive:
            ordered = [algebra.constant(0, tensor.kind), *ordered[:-1]]
        return list(accumulate(ordered, algebra.add))[backwards]

    return changed(tensor, [axis], one)
