"""TreeEnsembleClassifier: votes of leaves.

https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html, which says nothing about two classes with one
column of weights: what ONNX Runtime makes of those is in its tree_ensemble_aggregator.h and ml_common.h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.functions import logistic
from onnx_pipeline.engines.sql.operators.labels import Labels, labels_of
from onnx_pipeline.engines.sql.operators.post_transforms import of_one_score, post_transformed, probit
from onnx_pipeline.engines.sql.operators.tree_scores import Score, Scored
from onnx_pipeline.engines.sql.operators.trees import numbers, trees_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["tree_ensemble_classifier"]


def tree_ensemble_classifier(node: Node) -> tuple[Tensor, Tensor]:
    """Labels `[N]` and scores `[N, C]` of float32."""
    labels = labels_of(node)
    scored = Scored(node, trees_of(node, "class"), len(labels.values))
    ending = _Ending.of(node, labels, scored.kind)
    only = scored.only
    if only is not None and len(labels.values) > 2:
        # What a leaf comes to is computed here, and looked up: votes of one tree need no counting.
        ends = [
            ending.made([_held(weights, place, scored.kind) for place in range(len(labels.values))])
            for weights in only.contents
        ]
        label = only.chosen([each for each, _ in ends])
        cells = [only.chosen([cells[place] for _, cells in ends]) for place in range(len(labels.values))]
    elif len(labels.values) == 1:
        label, cells = ending.of_one(scored.alone())
    else:
        label, cells = ending.made(scored.scores())
    return labels.tensor(label), Tensor.of_cells([[algebra.narrow(cell) for cell in cells]], np.float32)


def _held(weights: Mapping[int, float], place: int, kind: Kind) -> Score:
    given = conditions.TRUE if place in weights else conditions.FALSE
    return Score(algebra.constant(weights.get(place, 0.0), kind), given)


@dataclass(frozen=True)
class _Ending:
    """From the scores of the classes to the label and to what is given out as scores."""

    node: Node
    labels: Labels
    kind: Kind
    base: Sequence[Expression]
    transform: str
    has_one_column: bool
    """Whether all weights are of one class."""
    is_positive: bool
    """Whether no weight is below zero: then they are taken for probabilities."""

    @classmethod
    def of(cls, node: Node, labels: Labels, kind: Kind) -> "_Ending":
        """From the node's attributes."""
        classes = len(labels.values)
        base = [algebra.constant(float(each), kind) for each in numbers(node, "base_values")]
        if len(base) not in ((0, 1, 2) if classes <= 2 else (0, classes)):
            raise node.refused(f"there are {len(base)} base values for {classes} classes")
        return cls(
            node, labels, kind, base,
            transform=node.attribute("post_transform", "NONE"),
            has_one_column=classes == 2 and len(set(node.attribute("class_ids", []))) == 1,
            is_positive=not any(weight < 0 for weight in numbers(node, "class_weights")),
        )  # fmt: skip

    def made(self, scores: Sequence[Score]) -> tuple[Expression, list[Expression]]:
        """The label, and what is given for each class."""
        return self._of_two(*scores) if len(scores) == 2 else self._of_many(scores)

    def of_one(self, score: Expression) -> tuple[Expression, list[Expression]]:
        """Of a classifier with one class: 1 or 0, whatever that class is called, by the sign of its score."""
        if len(self.base) > 1 or self.labels.dtype == object:
            raise self.node.refused("of a single class, ONNX Runtime reads labels or scores that are not there")
        score = algebra.add(score, self.base[0]) if self.base else score
        return self._by_sign(score), [of_one_score(self.transform, algebra.narrow(score))]

    def _of_many(self, scores: Sequence[Score]) -> tuple[Expression, list[Expression]]:
        if self.base:
            scores = [
                Score(algebra.add(score.value, base), conditions.TRUE)
                for score, base in zip(scores, self.base, strict=True)
            ]
        label, best, known = self.labels.values[0], scores[0].value, scores[0].given
        for score, name in zip(scores[1:], self.labels.values[1:], strict=True):
            # The first of the largest, of those that a leaf speaks of.
            wins = conditions.all_of(
                score.given, conditions.any_of(conditions.negation(known), conditions.beyond(score.value, best))
            )
            label, best = conditions.case([(wins, name)], label), conditions.case([(wins, score.value)], best)
            known = conditions.any_of(known, score.given)
        return label, self._transformed([score.value for score in scores])

    def _of_two(self, zero: Score, one: Score) -> tuple[Expression, list[Expression]]:
        """Each row ends with one score or with two, by whether a leaf speaks of class 1."""
        single, pair = self._of_single(zero), self._of_pair(zero, one)
        label = conditions.case([(one.given, pair[0])], single[0])
        return label, [conditions.case([(one.given, b)], a) for a, b in zip(single[1], pair[1], strict=True)]

    def _of_single(self, zero: Score) -> tuple[Expression, list[Expression]]:
        nothing = algebra.constant(0, self.kind)
        if self.base:
            zero = Score(algebra.add(zero.value, self.base[0]), zero.given)
        score = conditions.case([(zero.given, zero.value)], nothing)
        label = self._decided(score)
        if len(self.base) == 2:
            return label, self._transformed([score, nothing])
        narrow = algebra.narrow(score)
        if self.transform == "PROBIT":
            # Of the second ONNX Runtime gives what happens to be in memory.
            return label, [probit(narrow), algebra.absent(Kind.FLOAT)]
        if len(self.base) == 1 and not self.has_one_column:
            return label, [narrow, algebra.absent(Kind.FLOAT)]
        if self.transform == "LOGISTIC":
            return label, [logistic(algebra.negate(narrow)), logistic(narrow)]
        if self.has_one_column and self.is_positive:
            return label, [algebra.subtract(algebra.constant(1, self.kind), score), score]
        return label, [algebra.negate(score), score]

    def _of_pair(self, zero: Score, one: Score) -> tuple[Expression, list[Expression]]:
        first, second = zero.value, one.value
        if len(self.base) == 2:
            # Not a slip of the pen: ONNX Runtime adds the base value of class 1 to the score of class 0.
            second = algebra.add(self.base[1], zero.value)
            first = algebra.negate(second)
        elif self.base:
            first = algebra.add(first, self.base[0])
        first = conditions.case([(zero.given, first)], algebra.constant(0, self.kind))
        return self._decided(second), self._transformed([first, second])

    def _decided(self, score: Expression) -> Expression:
        if not self.has_one_column:
            return self._by_sign(score, *self.labels.values) if self.labels.dtype == object else self._by_sign(score)
        limit = algebra.constant(0.5 if self.is_positive else 0, self.kind)
        negative, positive = self.labels.values
        return conditions.case([(conditions.beyond(score, limit), positive)], negative)

    def _by_sign(
        self, score: Expression, negative: Expression | None = None, positive: Expression | None = None
    ) -> Expression:
        holds = conditions.beyond(score, algebra.constant(0, self.kind))
        return conditions.case([(holds, positive or algebra.integer(1))], negative or algebra.integer(0))

    def _transformed(self, scores: Sequence[Expression]) -> list[Expression]:
        if self.transform == "NONE":
            return list(scores)
        return post_transformed(self.transform, [algebra.narrow(score) for score in scores])
