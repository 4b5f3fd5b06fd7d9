"""SVMClassifier: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMClassifier.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/svmclassifier.cc
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions, extremes
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.choices import is_positive, of_the_largest
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.operators.labels import Labels, labels_of
from onnx_pipeline.engines.sql.operators.linear import scores_of
from onnx_pipeline.engines.sql.operators.post_transforms import of_both_classes, post_transformed
from onnx_pipeline.engines.sql.operators.svm import kernels, sum_of
from onnx_pipeline.engines.sql.operators.svm_probabilities import probabilities
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["svm_classifier"]

_BINARY = 2


def svm_classifier(node: Node) -> list[Tensor]:
    """Labels `[N]`, and probabilities `[N, K]` or the scores of each pair of classes."""
    labels = labels_of(node)
    if len(labels.values) < _BINARY:
        raise node.refused(f"it has {len(labels.values)} class")
    cells = features_of(node)
    transform = node.attribute("post_transform", "NONE")
    if not node.attribute("vectors_per_class"):
        return _linear(node, labels, cells, transform)
    pairs = _pairs(node, cells, len(labels.values))
    label = _label(pairs, labels)
    scores = {pair: algebra.narrow(score) for pair, score in pairs.items()}
    if node.attribute("prob_a"):
        made = post_transformed(transform, probabilities(node, scores, len(labels.values)))
    elif len(scores) > 1:
        made = post_transformed(transform, list(scores.values()))
    else:
        made = _both(node, scores[0, 1], transform)
    return [labels.tensor(label), Tensor.of_cells([made], np.float32)]


def _pairs(node: Node, cells: Sequence[Expression], classes: int) -> dict[tuple[int, int], Expression]:
    """The score of each pair of classes in double precision: above zero is a vote for the first one."""
    counts = node.attribute("vectors_per_class")
    if len(counts) != classes:
        raise node.refused(f"vectors_per_class has {len(counts)} numbers for {classes} classes")
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    found = kernels(node, cells, starts[-1])
    weights = np.asarray(node.attribute("coefficients", []), np.float32).reshape(-1, starts[-1])
    rho = np.asarray(node.attribute("rho"), np.float32).tolist()
    made = {}
    for place, (one, other) in enumerate(combinations(range(classes), 2)):
        of_one, of_other = slice(starts[one], starts[one + 1]), slice(starts[other], starts[other + 1])
        coefficients = [*weights[other - 1, of_one].tolist(), *weights[one, of_other].tolist()]
        made[one, other] = sum_of([*found[of_one], *found[of_other]], coefficients, rho[place])
    return made


def _label(pairs: Mapping[tuple[int, int], Expression], labels: Labels) -> Expression:
    """Of the class with the most votes, the first where several have them."""
    if len(pairs) == 1:
        return conditions.case([(is_positive(pairs[0, 1]), labels.values[0])], labels.values[1])
    return of_the_largest(_votes(pairs, len(labels.values)), labels.values)


def _votes(pairs: Mapping[tuple[int, int], Expression], classes: int) -> list[Expression]:
    """How many of its pairs each class wins."""
    one, none = algebra.double(1), algebra.double(0)
    votes: list[list[Expression]] = [[] for _ in range(classes)]
    for (first, second), score in pairs.items():
        won = is_positive(score)
        votes[first].append(conditions.case([(won, one)], none))
        votes[second].append(conditions.case([(won, none)], one))
    return [algebra.total(each) for each in votes]


def _both(node: Node, score: Expression, transform: str) -> list[Expression]:
    """Two classes without probabilities have one score."""
    if transform == "PROBIT":
        raise node.refused("ONNX Runtime leaves one of the two scores undefined under PROBIT")
    if transform == "NONE":
        return [algebra.negate(score), score]
    return of_both_classes(transform, score)


def _linear(node: Node, labels: Labels, cells: Sequence[Expression], transform: str) -> list[Tensor]:
    """Without support vectors: a row of coefficients per class, and one rho for all."""
    count = len(labels.values)
    coefficients = node.attribute("coefficients", [])
    scores = scores_of(node, cells, coefficients, (node.attribute("rho") or [0.0])[:1] * count)
    label = of_the_largest(scores, labels.values)
    if count == _BINARY and not node.attribute("prob_a"):
        top = extremes.extreme(scores, largest=True)
        positive = all(value >= 0 for value in coefficients)
        wins = conditions.at_least(top, algebra.constant(0.5, Kind.FLOAT)) if positive else is_positive(top)
        label = conditions.case([(wins, labels.values[1])], label)
    return [labels.tensor(label), Tensor.of_cells([post_transformed(transform, scores)], np.float32)]
