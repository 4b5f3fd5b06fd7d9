"""LpNormalization: vectors of length one. https://onnx.ai/onnx/operators/onnx__LpNormalization.html"""

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, changed, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["lp_normalization"]


def lp_normalization(node: Node) -> Tensor:
    """Along an axis, by the sum of sizes (p = 1) or the root of the sum of squares; what is all zero stays zero."""
    order = node.attribute("p", 2)
    if order not in (1, 2):
        raise node.refused(f"p is {order}, and ONNX has 1 and 2")
    axis = axis_of(node, node.attribute("axis", -1), node[0].cells.ndim)
    not_rows(node, node[0], [axis])

    def one(cells: list[Expression]) -> list[Expression]:
        wide = [algebra.as_double(cell) for cell in cells]
        if order == 1:
            norm = algebra.total([algebra.function("abs", cell) for cell in wide])
        else:
            norm = algebra.function("sqrt", algebra.total([algebra.multiply(cell, cell) for cell in wide]))
        zero = algebra.double(0)
        is_zero = conditions.equals(norm, zero)
        return [conditions.case([(is_zero, zero)], algebra.divide(cell, norm)) for cell in wide]

    return changed(node[0], [axis], one)
