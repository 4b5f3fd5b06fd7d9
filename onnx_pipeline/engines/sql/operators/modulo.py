"""Mod: what a division leaves. https://onnx.ai/onnx/operators/onnx__Mod.html"""

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["modulo"]


def modulo(node: Node) -> Tensor:
    """With the sign of the dividend where `fmod` is 1, as in C, else with that of the divisor, as in Python."""
    like_c = bool(node.attribute("fmod", 0))
    return together(lambda a, b: _rest(a, b, like_c=like_c), node[0].exact(), node[1].exact())


def _rest(a: Expression, b: Expression, *, like_c: bool) -> Expression:
    rest = algebra.remainder(a, b)
    if like_c:
        return rest
    nought = algebra.constant(0, rest.kind)
    differs = conditions.any_of(
        conditions.all_of(conditions.below(rest, nought), conditions.beyond(b, nought)),
        conditions.all_of(conditions.beyond(rest, nought), conditions.below(b, nought)),
    )
    return conditions.case([(differs, algebra.add(rest, b))], rest)
