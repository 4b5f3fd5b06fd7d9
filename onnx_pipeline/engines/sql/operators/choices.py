"""Which of several scores is the largest, and what goes with it."""

from collections.abc import Sequence

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression

__all__ = ["is_positive", "of_the_largest"]


def of_the_largest(scores: Sequence[Expression], values: Sequence[Expression]) -> Expression:
    """The value that stands where the first of the largest scores does.

    Each arm compares with the scores behind it alone: those before it have been ruled out by then. A missing score is
    passed over, but the first one: ONNX Runtime finds none that is greater.
    """
    arms = []
    for place, score in enumerate(scores[:-1]):
        none_is_greater = [conditions.negation(conditions.beyond(other, score)) for other in scores[place + 1 :]]
        is_there = [conditions.negation(conditions.is_missing(score))] if place else []
        arms.append((conditions.all_of(*none_is_greater, *is_there), values[place]))
    return conditions.case(arms, values[-1])


def is_positive(score: Expression) -> Expression:
    """Whether a score is above zero."""
    return conditions.beyond(score, algebra.constant(0, score.kind))
