"""The trees of the ensembles' operators, and the CASE that a tree becomes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["Branch", "Leaf", "Tree", "case_of", "trees_of"]


@dataclass(frozen=True, eq=False)
class Leaf:
    """Where rows end: what they add to each target or class."""

    weights: Mapping[int, float]


@dataclass(frozen=True, eq=False)
class Branch:
    """A test of one feature."""

    feature: int
    mode: str
    """BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ or BRANCH_NEQ."""
    threshold: float
    missing: bool
    """Whether a missing value counts as if the test held."""
    true: "Tree"
    false: "Tree"


Tree: TypeAlias = Branch | Leaf

_TESTS: Mapping[str, Callable[[Expression, Expression], Expression]] = {
    "BRANCH_LEQ": conditions.at_most,
    "BRANCH_LT": conditions.below,
    "BRANCH_GTE": conditions.at_least,
    "BRANCH_GT": conditions.beyond,
    "BRANCH_EQ": conditions.equals,
    "BRANCH_NEQ": conditions.differs,
}


def trees_of(node: Node, prefix: str) -> list[Tree]:
    """The trees of a TreeEnsembleClassifier (`prefix` class) or -Regressor (target), in the order of their ids.

    A node may be reached in more than one way: ONNX Runtime takes a tree that is a graph.
    """
    weights: dict[tuple[int, int], dict[int, float]] = {}
    values = _numbers(node, f"{prefix}_weights")
    ids = (node.attribute(f"{prefix}_{name}", []) for name in ("treeids", "nodeids", "ids"))
    for tree, leaf, target, weight in zip(*ids, values, strict=True):
        held = weights.setdefault((tree, leaf), {})
        held[target] = held.get(target, 0.0) + float(weight)
    names = ("treeids", "nodeids", "featureids", "modes", "truenodeids", "falsenodeids")
    rows = list(
        zip(*(node.attribute(f"nodes_{name}", []) for name in names), _numbers(node, "nodes_values"), strict=True)
    )
    tracks = node.attribute("nodes_missing_value_tracks_true") or []
    made: dict[tuple[int, int], Tree] = {}
    places = {(row[0], row[1]): place for place, row in enumerate(rows)}
    for tree, root in dict.fromkeys(_roots(rows)):
        stack = [(tree, root)]
        while stack:
            current = stack[-1]
            if current in made:
                stack.pop()
                continue
            _, _, feature, mode, true, false, threshold = rows[_place(node, places, current)]
            if mode == "LEAF":
                made[current] = Leaf(weights.get(current, {}))
                continue
            missing = [each for each in ((tree, true), (tree, false)) if each not in made]
            if missing:
                if len(stack) > len(rows):
                    raise node.refused(f"tree {tree} runs in a circle")
                stack.extend(missing)
                continue
            tracked = places[current] < len(tracks) and bool(tracks[places[current]])
            made[current] = Branch(feature, mode, float(threshold), tracked, made[tree, true], made[tree, false])
    return [made[each] for each in dict.fromkeys(_roots(rows))]


def _roots(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, int]]:
    """The first node of each tree, as ONNX Runtime takes them."""
    seen = set()
    for row in rows:
        if row[0] not in seen:
            seen.add(row[0])
            yield row[0], row[1]


def _place(node: Node, places: Mapping[tuple[int, int], int], wanted: tuple[int, int]) -> int:
    if wanted not in places:
        raise node.refused(f"tree {wanted[0]} names node {wanted[1]}, which it does not have")
    return places[wanted]


def _numbers(node: Node, name: str) -> Any:
    """Of the attribute, or of its brother in double precision."""
    precise = node.attribute(f"{name}_as_tensor")
    return precise if precise is not None else np.array(node.attribute(name, []), np.float32)


def test_of(branch: Branch, features: Sequence[Expression]) -> Expression:
    """The condition of a branch, as ONNX Runtime decides it."""
    feature = features[branch.feature]
    test = _TESTS[branch.mode](feature, algebra.constant(branch.threshold, feature.kind))
    return conditions.any_of(test, conditions.is_missing(feature)) if branch.missing else test


def case_of(tree: Tree, features: Sequence[Expression], leaf: Callable[[Leaf], Expression]) -> Expression:
    """The value of the leaf that a row ends in.

    The side that nests deeper stands in ELSE, by the opposite test: a CASE that ends another one's is part of it, so
    the nesting is at most the logarithm of the number of leaves (its Strahler number). T-SQL nests ten.
    """
    # After the children, without recursion: a chain of tests may be longer than Python's stack.
    made: dict[int, tuple[Expression, int]] = {}
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
            made[id(current)] = _cased(current, features, made[id(current.true)], made[id(current.false)])
    return made[id(tree)][0]


def _cased(
    branch: Branch, features: Sequence[Expression], true: tuple[Expression, int], false: tuple[Expression, int]
) -> tuple[Expression, int]:
    test = test_of(branch, features)
    if true[1] > false[1]:
        test, true, false = conditions.negation(test), false, true
    return conditions.case([(test, true[0])], false[0]), max(true[1] + 1, false[1])
