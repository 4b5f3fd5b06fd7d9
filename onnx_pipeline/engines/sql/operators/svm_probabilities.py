"""Probabilities of classes from those of pairs, as libsvm couples them and ONNX Runtime does in float32.

Wu, Lin and Weng, https://www.csie.ntu.edu.tw/~cjlin/papers/svmprob/svmprob.pdf, the second way; ONNX Runtime's:
https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/ml_common.h
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["probabilities"]

_ROUNDS: Mapping[int, int] = {2: 3, 3: 5, 4: 6}
"""Rounds after which the iteration has ended, by the number of classes: one more than any that random and extreme
probabilities of pairs needed, of a hundred thousand. ONNX Runtime stops at 100, which none comes near."""
_LEAST = 1.0e-7


def _number(value: float) -> Expression:
    return algebra.constant(value, Kind.FLOAT)


_ONE = _number(1)


def probabilities(node: Node, scores: Mapping[tuple[int, int], Expression], classes: int) -> list[Expression]:
    """One per class, of float32; `scores` are those of the pairs. Raises NotCompilableError for too many classes."""
    if classes not in _ROUNDS:
        raise node.refused(
            f"its probabilities of {classes} classes come from an iteration, which is written out for at most "
            f"{max(_ROUNDS)}. Score by `kind: onnxruntime`; or train with `probability=False`"
        )
    first, second = (np.asarray(node.attribute(name), np.float32).tolist() for name in ("prob_a", "prob_b"))
    won: dict[tuple[int, int], Expression] = {}
    for (pair, score), a, b in zip(scores.items(), first, second, strict=True):
        won[pair] = _of_pair(score, a, b)
        won[pair[::-1]] = algebra.subtract(_ONE, won[pair])
    return _coupled(won, classes)


def _of_pair(score: Expression, a: float, b: float) -> Expression:
    """The probability of the first of two classes, by Platt's sigmoid, kept off 0 and 1."""
    value = algebra.add(algebra.multiply(score, _number(a)), _number(b))
    power = algebra.narrow(algebra.function("exp", algebra.negate(algebra.function("abs", value))))
    above = algebra.divide(_ONE, algebra.add(_ONE, power))
    below = algebra.subtract(_ONE, above)
    # 1 - logistic(value), of which 1 - (1 - above) is not above in float32.
    found = conditions.case([(conditions.below(value, _number(0)), algebra.subtract(_ONE, below))], below)
    least, most = _number(_LEAST), algebra.subtract(_ONE, _number(_LEAST))
    return conditions.case([(conditions.below(found, least), least), (conditions.beyond(found, most), most)], found)


def _sum(terms: Sequence[Expression]) -> Expression:
    """In this order and in float32: where the iteration ends hangs on the last bits."""
    return reduce(algebra.add, terms)


def _coupled(won: Mapping[tuple[int, int], Expression], classes: int) -> list[Expression]:
    places = range(classes)
    q = {
        (i, j): _sum([algebra.multiply(won[k, i], won[k, i]) for k in places if k != i])
        if i == j
        else algebra.negate(algebra.multiply(won[max(i, j), min(i, j)], won[min(i, j), max(i, j)]))
        for i in places
        for j in places
    }
    found = [algebra.divide(_ONE, _number(classes))] * classes
    enough = algebra.divide(_number(0.005), _number(classes))
    for _ in range(_ROUNDS[classes]):
        found = _round(q, found, enough)
    return found


def _round(q: Mapping[tuple[int, int], Expression], found: list[Expression], enough: Expression) -> list[Expression]:
    """One round of the iteration; where the probabilities are good enough, they stay."""
    places = range(len(found))
    slopes = [_sum([algebra.multiply(q[i, j], found[j]) for j in places]) for i in places]
    mean = _sum([algebra.multiply(found[i], slopes[i]) for i in places])
    # Not "below": a missing error is passed over, so that a row with NaN keeps the first, equal probabilities.
    errors = [algebra.function("abs", algebra.subtract(slope, mean)) for slope in slopes]
    done = conditions.all_of(*(conditions.negation(conditions.at_least(error, enough)) for error in errors))
    moved = list(found)
    for i in places:
        step = algebra.divide(algebra.subtract(mean, slopes[i]), q[i, i])
        rest = algebra.add(_ONE, step)
        twice = algebra.multiply(_number(2), slopes[i])
        change = algebra.multiply(step, algebra.add(algebra.multiply(step, q[i, i]), twice))
        mean = algebra.divide(algebra.divide(algebra.add(mean, change), rest), rest)
        moved[i] = algebra.add(moved[i], step)
        slopes = [
            algebra.divide(algebra.add(slope, algebra.multiply(step, q[i, j])), rest) for j, slope in enumerate(slopes)
        ]
        moved = [algebra.divide(each, rest) for each in moved]
    return [conditions.case([(done, old)], new) for old, new in zip(found, moved, strict=True)]
