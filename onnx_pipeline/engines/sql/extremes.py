"""The largest and smallest of several values, and where it stands, by ONNX Runtime's rules for missing ones."""

from collections.abc import Callable, Sequence

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.conditions import any_of, at_least, at_most, below, beyond, case, equals, is_missing
from onnx_pipeline.engines.sql.expressions import Expression

__all__ = ["extreme", "first_in_order", "place_of_extreme", "present_extreme"]


def extreme(values: Sequence[Expression], *, largest: bool) -> Expression:
    """The largest or smallest value; missing where one of them is, as of Max, Min and Clip."""
    better = at_least if largest else at_most

    def one(a: Expression, b: Expression) -> Expression:
        return case([(any_of(better(a, b), is_missing(a)), a)], b)

    return _by_pairs(one, values)


def _by_pairs(one: Callable[[Expression, Expression], Expression], values: Sequence[Expression]) -> Expression:
    """As a tournament: its rounds, each a step where values are shared, are few."""
    current = list(values)
    while len(current) > 1:
        paired = [one(a, b) for a, b in zip(current[::2], current[1::2], strict=False)]
        current = paired + current[len(current) - len(current) % 2 :]
    return current[0]


def present_extreme(values: Sequence[Expression], *, largest: bool) -> Expression:
    """The largest or smallest of the values that are there; missing where none is."""
    better = beyond if largest else below

    def one(a: Expression, b: Expression) -> Expression:
        return case([(any_of(better(b, a), is_missing(a)), b)], a)

    return _by_pairs(one, values)


def place_of_extreme(values: Sequence[Expression], *, largest: bool = True, last: bool = False) -> Expression:
    """Where the largest or smallest value stands, among equals first or `last`: a whole number.

    A missing value is passed over, but the first one: nothing is greater than it, so it stays.
    """
    if len(values) == 1:
        return algebra.integer(0)
    if len(values) == 2:
        better = (at_least if last else beyond) if largest else (at_most if last else below)
        return case([(better(values[1], values[0]), algebra.integer(1))], algebra.integer(0))
    best = present_extreme(values, largest=largest)
    order = list(range(len(values)))[:: -1 if last else 1]
    arms = [(equals(values[place], best), algebra.integer(place)) for place in order[:-1]]
    return case([(is_missing(values[0]), algebra.integer(0)), *arms], algebra.integer(order[-1]))


def first_in_order(values: Sequence[Expression], *, largest: bool = True) -> tuple[Expression, Expression]:
    """The value that a sorting puts first, and its place: a missing value counts as the largest, as TopK has it."""
    best = present_extreme(values, largest=largest)
    place = place_of_extreme(values, largest=largest)
    if largest:
        absent = [(is_missing(value), algebra.integer(at)) for at, value in enumerate(values)]
        return extreme(values, largest=True), case(absent, place)
    first_present = [(equals(value, best), algebra.integer(at)) for at, value in enumerate(values)]
    return best, case(first_present, algebra.integer(0))
