"""The CASE that a tree becomes."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind, Scalar, expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.trees import Branch, Leaf, Test, Tree, every_node

__all__ = ["Tests", "case_of"]

_TESTS: Mapping[str, Callable[[Expression, Expression], Expression]] = {
    "BRANCH_LEQ": conditions.at_most,
    "BRANCH_LT": conditions.below,
    "BRANCH_GTE": conditions.at_least,
    "BRANCH_GT": conditions.beyond,
    "BRANCH_EQ": conditions.equals,
    "BRANCH_NEQ": conditions.differs,
}
_LESS = frozenset({"BRANCH_LEQ", "BRANCH_LT"})
_WORTH_A_STAND_IN = 8
"""Tests of one feature from which on it is cheaper to fill in its missing values once than to ask for them in each."""
_LARGEST = {Kind.FLOAT: float(np.finfo(np.float32).max), Kind.DOUBLE: float(np.finfo(np.float64).max)}


class Tests:
    """The conditions of the branches over the features of a row.

    A missing value goes the way of a number where that decides the same: the largest one is beyond each threshold, and
    the smallest at most each.
    """

    def __init__(self, node: Node, features: Sequence[Expression], trees: Sequence[Tree]) -> None:
        self._features = features
        tests = [each.test for each in every_node(trees) if isinstance(each, Branch)]
        for test in tests:
            if test.feature >= len(features):
                raise node.refused(f"a tree asks for feature {test.feature}, and there are {len(features)}")
            if test.mode not in _TESTS and test.mode != "BRANCH_MEMBER":
                raise node.refused(f"the mode {test.mode!r} is none that ONNX knows")
        asked = Counter(test.feature for test in tests if test.mode in _LESS)
        self._filled = {
            feature: tuple(conditions.filled(cell, algebra.constant(limit, cell.kind)) for limit in _limits(cell.kind))
            for feature, cell in enumerate(features)
            if asked[feature] >= _WORTH_A_STAND_IN and (cell.missing or cell.nan)
        }
        """By feature: where a missing value counts as if the test failed, and where as if it held."""

    def condition(self, test: Test) -> Expression:
        """Whether a row goes the way of "true"."""
        feature = self._features[test.feature]
        thresholds = [algebra.constant(each, feature.kind) for each in test.thresholds]
        if test.feature in self._filled and test.mode in _LESS and self._is_between(thresholds[0]):
            return _TESTS[test.mode](self._filled[test.feature][test.missing], thresholds[0])
        compare = _TESTS.get(test.mode, conditions.equals)
        holds = [_decided(test, feature, each.value) or compare(feature, each) for each in thresholds]
        return conditions.any_of(*holds, conditions.is_missing(feature) if test.missing else conditions.FALSE)

    @staticmethod
    def _is_between(threshold: Expression) -> bool:
        value = threshold.value
        return isinstance(value, float) and math.isfinite(value) and abs(value) < _LARGEST[threshold.kind]


def _limits(kind: Kind) -> tuple[float, float]:
    return _LARGEST[kind], -_LARGEST[kind]


_ALWAYS = {("BRANCH_LEQ", math.inf), ("BRANCH_GTE", -math.inf)}
_NEVER = {("BRANCH_GT", math.inf), ("BRANCH_LT", -math.inf)}


def _decided(test: Test, feature: Expression, threshold: Scalar) -> Expression | None:
    """What holds for every number: beside NaN, or an infinity, which T-SQL cannot write."""
    if threshold is None:
        return conditions.TRUE if test.mode == "BRANCH_NEQ" else conditions.FALSE
    if (test.mode, threshold) in _ALWAYS:
        return conditions.negation(conditions.is_missing(feature))
    return conditions.FALSE if (test.mode, threshold) in _NEVER else None


def case_of(tree: Tree, tests: Tests, leaf: Callable[[Leaf], Expression]) -> Expression:
    """The value of the leaf that a row ends in.

    The side that nests deeper stands in ELSE, by the opposite test: a CASE that ends another one's is part of it, so
    the nesting is at most the logarithm of the number of leaves (its Strahler number). T-SQL nests ten.
    """
    reached = Counter(
        id(side) for each in every_node([tree]) if isinstance(each, Branch) for side in (each.true, each.false)
    )
    made: dict[int, tuple[Expression, int]] = {}
    # After the children, without recursion: a chain of tests may be longer than Python's stack.
    stack: list[tuple[Tree, bool]] = [(tree, False)]
    while stack:
        current, expanded = stack.pop()
        if id(current) in made:
            continue
        if isinstance(current, Leaf):
            made[id(current)] = leaf(current), 0
        elif not expanded:
            stack += [(current, True), (current.true, False), (current.false, False)]
        else:
            made[id(current)] = _cased(tests.condition(current.test), made, current, reached)
    return made[id(tree)][0]


def _cased(
    test: Expression, made: Mapping[int, tuple[Expression, int]], branch: Branch, reached: Mapping[int, int]
) -> tuple[Expression, int]:
    true, false = made[id(branch.true)], made[id(branch.false)]
    true_is_shared, false_is_shared = (reached[id(side)] > 1 for side in (branch.true, branch.false))
    if true[1] > false[1]:
        test, true, false, false_is_shared = conditions.negation(test), false, true, true_is_shared
    nesting = max(true[1] + 1, false[1] + false_is_shared)
    if false_is_shared and false[0].op == "case" and true[0] is not false[0] and not test.is_constant:
        # Not made part of this one: what several branches lead to would be written once for each way to it.
        ends = (true[0], false[0])
        return expression(
            "case",
            true[0].kind,
            (test, *ends),
            missing=any(end.missing for end in ends),
            infinite=any(end.infinite for end in ends),
            nan=any(end.nan for end in ends),
        ), nesting
    return conditions.case([(test, true[0])], false[0]), nesting
