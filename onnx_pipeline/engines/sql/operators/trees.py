"""The trees of the ensembles' operators, as ONNX Runtime reads them from their attributes.

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/tree_ensemble_common.h
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from onnx_pipeline.engines.sql.nodes import Node

__all__ = ["Branch", "Leaf", "Test", "Tree", "assembled", "every_node", "numbers", "trees_of"]


@dataclass(frozen=True, eq=False)
class Leaf:
    """Where rows end: what they add to each target or class."""

    weights: Mapping[int, float]
    alone: float
    """What counts where there is one target: the first of its weights, or the node's value where it has none."""


@dataclass(frozen=True)
class Test:
    """What a branch asks of one feature."""

    feature: int
    mode: str
    """BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, BRANCH_NEQ or BRANCH_MEMBER."""
    thresholds: tuple[float, ...]
    """What the feature is compared with: one value, and of BRANCH_MEMBER those of the set."""
    missing: bool
    """Whether a missing value counts as if the test held."""


@dataclass(frozen=True, eq=False)
class Branch:
    """Where rows part."""

    test: Test
    true: "Tree"
    false: "Tree"


Tree: TypeAlias = Branch | Leaf
Key: TypeAlias = tuple[int, int]
_Key = TypeVar("_Key")


def trees_of(node: Node, prefix: str) -> list[Tree]:
    """The trees of a TreeEnsembleClassifier (`prefix` class) or -Regressor (target).

    A node may be reached in more than one way: ONNX Runtime takes a tree that is a graph. Nodes without the flag for
    missing values, where the list is shorter than the nodes, go the way of "false".
    """
    weights: dict[Key, list[tuple[int, float]]] = {}
    values = numbers(node, f"{prefix}_weights")
    ids = (node.attribute(f"{prefix}_{name}", []) for name in ("treeids", "nodeids", "ids"))
    for tree, leaf, target, weight in zip(*ids, values, strict=True):
        weights.setdefault((tree, leaf), []).append((target, float(weight)))
    names = ("treeids", "nodeids", "featureids", "modes", "truenodeids", "falsenodeids")
    rows = list(
        zip(*(node.attribute(f"nodes_{name}", []) for name in names), numbers(node, "nodes_values"), strict=True)
    )
    tracks = node.attribute("nodes_missing_value_tracks_true") or []
    places = {(row[0], row[1]): place for place, row in enumerate(rows)}

    def found(key: Key) -> Leaf | tuple[Test, Key, Key]:
        if key not in places:
            raise node.refused(f"tree {key[0]} names node {key[1]}, which it does not have")
        place = places[key]
        tree, _, feature, mode, true, false, value = rows[place]
        if mode == "LEAF":
            return _leaf(weights.get(key, []), float(value))
        missing = place < len(tracks) and tracks[place] == 1
        return Test(feature, mode, (float(value),), missing), (tree, true), (tree, false)

    return assembled(node, _roots(rows), found)


def _leaf(weights: Sequence[tuple[int, float]], value: float) -> Leaf:
    held: dict[int, float] = {}
    for target, weight in weights:
        held[target] = held.get(target, 0.0) + weight
    return Leaf(held, weights[0][1] if weights else value)


def assembled(node: Node, roots: Sequence[_Key], found: Callable[[_Key], Leaf | tuple[Test, _Key, _Key]]) -> list[Tree]:
    """The trees from the keys of their roots; `found` gives of a key a leaf, or a test and the keys of its two sides.

    Raises NotCompilableError for a tree that runs in a circle.
    """
    made: dict[_Key, Tree] = {}
    for root in roots:
        # Not by recursion: a chain of tests may be longer than Python's stack.
        stack = [root]
        above = {root}
        while stack:
            current = stack[-1]
            what = found(current)
            unknown = [] if isinstance(what, Leaf) else [side for side in what[1:] if side not in made]
            if unknown:
                if unknown[0] in above:
                    raise node.refused(f"the tree that begins at node {root} runs in a circle")
                above.add(unknown[0])
                stack.append(unknown[0])
                continue
            made[current] = what if isinstance(what, Leaf) else Branch(what[0], made[what[1]], made[what[2]])
            above.remove(stack.pop())
    return [made[root] for root in roots]


def _roots(rows: Sequence[tuple[Any, ...]]) -> list[Key]:
    """Where another tree's nodes begin, as ONNX Runtime takes them: of mixed nodes a tree begins more than once."""
    roots: list[Key] = []
    previous = None
    for row in rows:
        if row[0] != previous:
            roots.append((row[0], row[1]))
        previous = row[0]
    return roots


def numbers(node: Node, name: str) -> Any:
    """Of the attribute, or of its brother in double precision."""
    precise = node.attribute(f"{name}_as_tensor")
    return precise if precise is not None else np.array(node.attribute(name, []), np.float32)


def every_node(trees: Sequence[Tree]) -> Iterator[Tree]:
    """The branches and leaves of some trees, each once."""
    seen: set[int] = set()
    stack = list(reversed(trees))
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, Branch):
            stack += [current.false, current.true]
