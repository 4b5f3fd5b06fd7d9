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
    missing: dict[Expression, Expression] = {}
    """What overflows to what is missing there instead."""
    given: set[Expression] = set()
    """Columns, and choices among them: what they hold beyond float32 is refused before."""
    infinities = algebra.constant(math.inf, Kind.FLOAT), algebra.constant(-math.inf, Kind.FLOAT)
    for each in in_order(outputs):
        made[each] = with_args(each, [made[arg] for arg in each.args])
        if each.op in ("column", "constant") or (each.op == "case" and given.issuperset(algebra.values_of(each))):
            given.add(each)
        elif each.op == "cast" and each.kind is Kind.FLOAT:
            (wide,) = each.args
            if wide.kind is Kind.DOUBLE and wide.infinite and wide not in given:
                missing[each] = made[each]
                made[each] = infinite_beyond_float32(made[wide], made[each], infinities)
    return made | {each: missing[each] for each in outputs if each in missing}
