"""TreeEnsemble of ai.onnx.ml 5: branches and leaves in lists of their own, and sets of values to be a member of.

https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
"""

import math
from collections.abc import Sequence

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.tree_ensemble_regressor import predicted
from onnx_pipeline.engines.sql.operators.trees import Leaf, Test, Tree, assembled
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["tree_ensemble"]

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
"""As ONNX Runtime 1.32 numbers them. ONNX itself has 1 for SOFTMAX and 2 for LOGISTIC."""


def tree_ensemble(node: Node) -> Tensor:
    """`[N, T]` of the input's type."""
    cells = predicted(
        node,
        _trees(node),
        node.attribute("n_targets", 1),
        _named(node, "aggregate_function", 1, _AGGREGATES),
        _named(node, "post_transform", 0, _TRANSFORMS),
    )
    kind = node[0].kind
    return Tensor.of_cells(
        [[algebra.as_double(c) if kind is Kind.DOUBLE else algebra.narrow(c) for c in cells]], node[0].dtype
    )


def _named(node: Node, attribute: str, default: int, names: Sequence[str]) -> str:
    number: int = node.attribute(attribute, default)
    if number not in range(len(names)):
        raise node.refused(f"{attribute} {number} is none that ONNX knows")
    return str(names[number])


def _trees(node: Node) -> list[Tree]:
    targets, weights = node.attribute("leaf_targetids", []), node.attribute("leaf_weights", [])
    features, splits = node.attribute("nodes_featureids", []), node.attribute("nodes_splits", [])
    modes = [_MODES[mode] for mode in node.attribute("nodes_modes", [])]
    sides = {
        name: node.attribute(f"nodes_{name}", []) for name in ("trueleafs", "truenodeids", "falseleafs", "falsenodeids")
    }
    tracks = node.attribute("nodes_missing_value_tracks_true") or [0] * len(modes)
    members = _members(modes, node.attribute("membership_values", []))

    def leaf(place: int) -> Leaf:
        return Leaf({targets[place]: float(weights[place])}, float(weights[place]))

    def found(key: tuple[bool, int]) -> "Leaf | tuple[Test, tuple[bool, int], tuple[bool, int]]":
        is_leaf, place = key
        if is_leaf:
            return leaf(place)
        thresholds = members[place] if modes[place] == "BRANCH_MEMBER" else (float(splits[place]),)
        test = Test(features[place], modes[place], thresholds, tracks[place] == 1)
        return test, (bool(sides["trueleafs"][place]), sides["truenodeids"][place]), (
            bool(sides["falseleafs"][place]), sides["falsenodeids"][place],
        )  # fmt: skip

    return assembled(node, [(False, root) for root in node.attribute("tree_roots", [])], found)


def _members(modes: Sequence[str], values: Sequence[float]) -> list[tuple[float, ...]]:
    """The set of each node, empty where it has none. NaN ends a set."""
    found: list[tuple[float, ...]] = []
    place = 0
    for mode in modes:
        held: list[float] = []
        if mode == "BRANCH_MEMBER":
            while place < len(values) and not math.isnan(values[place]):
                held.append(float(values[place]))
                place += 1
            place += 1
        found.append(tuple(held))
    return found
