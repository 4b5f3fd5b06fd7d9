"""Doubles beyond float32: infinite on their way through a graph, where a database's own cast has no form for them."""

import math
from collections.abc import Sequence

from onnx_pipeline.base.rules import rounds_up_from
from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.conditions import at_least, at_most, case
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order, with_args

__all__ = ["infinite_beyond_float32", "overflowing_casts"]


def infinite_beyond_float32(
    each: Expression, rounded: Expression, infinities: tuple[Expression, Expression]
) -> Expression:
    """`rounded`, which `each` becomes by a cast, with infinity, or its negative, where that has no form for it."""
    end = rounds_up_from("float")
    assert end is not None
    tests = at_least(each, algebra.double(end)), at_most(each, algebra.double(-end))
    return case(list(zip(tests, infinities, strict=True)), rounded)


def overflowing_casts(outputs: Sequence[Expression]) -> dict[Expression, Expression]:
    """Every expression below the outputs, and they themselves, to what stands for it.

    A cast to float32 that is computed with is infinite beyond it; a prediction is missing there.
    """
    made: dict[Expression, Expression] = {}
    for each in in_order(outputs):
        args = [made[arg] for arg in each.args]
        changed = any(new is not old for new, old in zip(args, each.args, strict=True))
        made[each] = with_args(each, args) if changed else each
        if _overflows(each):
            infinities = algebra.constant(math.inf, Kind.FLOAT), algebra.constant(-math.inf, Kind.FLOAT)
            made[each] = infinite_beyond_float32(args[0], made[each], infinities)
    return made | {each: with_args(each, [made[arg] for arg in each.args]) for each in outputs if _overflows(each)}


def _overflows(each: Expression) -> bool:
    """Whether it narrows what was computed: what a column holds beyond float32 is refused before."""
    if each.op != "cast" or each.kind is not Kind.FLOAT:
        return False
    (arg,) = each.args
    return arg.kind is Kind.DOUBLE and arg.infinite and not _is_of_a_column(arg)


def _is_of_a_column(each: Expression) -> bool:
    if each.op == "case":
        return all(map(_is_of_a_column, algebra.values_of(each)))
    return each.op in ("column", "constant")
