"""What is made of the scores of ai.onnx.ml's models at the end, as ONNX Runtime's kernels do.

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/ml_common.h
"""

from collections.abc import Callable, Mapping, Sequence

from onnx_pipeline.engines.sql import algebra, conditions, extremes
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.operators.functions import logistic
from onnx_pipeline.engines.sql.operators.softmax import softmax_of

__all__ = ["logistic", "of_both_classes", "of_one_score", "post_transformed", "probit", "softmax_zero"]

_SMALL = 0.0000001
"""What softmax_zero takes for zero."""


def probit(score: Expression) -> Expression:
    """The quantile of the normal distribution by ONNX Runtime's approximation, in its steps of float32.

    Near one half they cancel, so that another order of steps would give other answers.
    """

    def number(value: float) -> Expression:
        return algebra.constant(value, Kind.FLOAT)

    def rounded(name: str, of: Expression) -> Expression:
        return algebra.narrow(algebra.function(name, of))

    x = algebra.subtract(algebra.multiply(number(2), algebra.narrow(score)), number(1))
    log = rounded("log", algebra.multiply(algebra.subtract(number(1), x), algebra.add(number(1), x)))
    a = number(0.147)
    v = algebra.add(algebra.divide(number(2), algebra.multiply(number(3.14159), a)), algebra.multiply(number(0.5), log))
    v2 = algebra.multiply(algebra.divide(number(1), a), log)
    root = rounded("sqrt", algebra.subtract(algebra.multiply(v, v), v2))
    size = rounded("sqrt", algebra.add(algebra.negate(v), root))
    sign = conditions.case([(conditions.below(x, number(0)), number(-1))], number(1))
    return algebra.multiply(number(1.41421356), algebra.multiply(sign, size))


def softmax_zero(scores: list[Expression]) -> list[Expression]:
    """As softmax, but a score of zero stays one. Missing where all are zero, since 0 / 0 is NaN."""
    top = algebra.as_double(extremes.extreme(scores, largest=True))
    shrunk = algebra.function("exp", algebra.negate(top))
    counts = [
        conditions.any_of(
            conditions.beyond(score, algebra.constant(_SMALL, Kind.FLOAT)),
            conditions.below(score, algebra.constant(-_SMALL, Kind.FLOAT)),
            conditions.is_missing(score),
        )
        for score in scores
    ]
    wide = [algebra.as_double(score) for score in scores]
    powers = [algebra.function("exp", algebra.subtract(score, top)) for score in wide]
    zero = algebra.double(0)
    whole = algebra.total([conditions.case([(c, power)], zero) for c, power in zip(counts, powers, strict=True)])
    divisor = conditions.case([(conditions.equals(whole, zero), algebra.absent(Kind.DOUBLE))], whole)
    return [
        algebra.divide(conditions.case([(c, power)], algebra.multiply(score, shrunk)), divisor)
        for c, power, score in zip(counts, powers, wide, strict=True)
    ]


def _same(scores: list[Expression]) -> list[Expression]:
    return scores


def _each(change: Callable[[Expression], Expression]) -> Callable[[list[Expression]], list[Expression]]:
    return lambda scores: [change(score) for score in scores]


_TRANSFORMS: Mapping[str, Callable[[list[Expression]], list[Expression]]] = {
    "NONE": _same,
    "LOGISTIC": _each(logistic),
    "SOFTMAX": softmax_of,
    "SOFTMAX_ZERO": softmax_zero,
    "PROBIT": _each(probit),
}


def post_transformed(name: str, scores: Sequence[Expression]) -> list[Expression]:
    """Two scores or more, of float32. Raises ValueError for a transform that ONNX does not know."""
    if name not in _TRANSFORMS:
        raise ValueError(f"post_transform {name!r} is none of {', '.join(_TRANSFORMS)}")
    return _TRANSFORMS[name](list(scores))


def of_one_score(name: str, score: Expression) -> Expression:
    """A single score: there ONNX Runtime computes PROBIT alone, and leaves the score for the others."""
    return probit(score) if name == "PROBIT" else score


def of_both_classes(name: str, score: Expression) -> list[Expression]:
    """Of one score for two classes: LOGISTIC is computed, and for the others `1 - score` stands beside the score."""
    if name == "LOGISTIC":
        return [logistic(algebra.negate(score)), logistic(score)]
    return [algebra.subtract(algebra.constant(1, Kind.FLOAT), score), score]
