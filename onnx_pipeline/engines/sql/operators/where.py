"""Where: one of two by a condition. https://onnx.ai/onnx/operators/onnx__Where.html"""

from onnx_pipeline.engines.sql.conditions import all_of, any_of, case, negation
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["where"]


def where(node: Node) -> Tensor:
    """`X` where the condition holds, `Y` elsewhere."""
    return together(chosen, node[0], node[1], node[2], dtype=node[1].dtype)


def chosen(condition: Expression, true: Expression, false: Expression) -> Expression:
    """One of two; a choice between conditions is a condition, since T-SQL's CASE gives none."""
    if true.kind is Kind.BOOLEAN:
        return any_of(all_of(condition, true), all_of(negation(condition), false))
    return case([(condition, true)], false)
