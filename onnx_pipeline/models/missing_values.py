"""Which input columns a tree tests that does not track missing values.

skl2onnx drops scikit-learn's missing-value routing for decision trees and forests: with 10 % NaN per cell 11
to 20 % of the answers differ, silently. The nodes of a tree that does track them say so in
`nodes_missing_value_tracks_true`: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from onnx_pipeline.models.column_flow import Flow, Source, flows, mixed
from onnx_pipeline.models.facts import EVERY_COLUMN
from onnx_pipeline.models.protobuf import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["tested_columns", "tests_untracked", "untracked_columns"]

_TREES = frozenset({"TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"})


def untracked_columns(model: "ModelProto", widths: dict[str, int | None]) -> frozenset[Source]:
    """(input, column index) of every input column whose NaN can reach a test in a tree without tracking.

    `widths` holds the columns of each input, None for a dynamic width. What is not understood counts as
    reached.
    """
    reached: set[Source] = set()
    trees = [node for node in model.graph.node if tests_untracked(node)]
    if trees:
        flow = flows(model.graph, widths)
        for node in trees:
            reached |= _tested(node, flow[node.input[0]])
    bodies = list(all_graphs(model.graph))[1:]
    if any(tests_untracked(node) for body in bodies for node in body.node):
        reached |= {(name, EVERY_COLUMN) for name in widths}
    return frozenset(reached)


def tests_untracked(node: "NodeProto") -> bool:
    """Whether a node is a tree ensemble that tracks missing values at none of its nodes."""
    return node.op_type in _TREES and not any(_integers(node, "nodes_missing_value_tracks_true"))


def tested_columns(node: "NodeProto") -> frozenset[int]:
    """The columns that a tree ensemble tests; a leaf carries a feature number that means nothing."""
    features = _integers(node, "nodes_featureids")
    modes = next((attribute.strings for attribute in node.attribute if attribute.name == "nodes_modes"), ())
    if not modes:  # since ai.onnx.ml 5 the leaves have lists of their own
        return frozenset(features)
    return frozenset(feature for feature, mode in zip(features, modes, strict=False) if mode not in {b"LEAF", "LEAF"})


def _tested(node: "NodeProto", flow: Flow) -> AbstractSet[Source]:
    if not isinstance(flow, tuple):
        return flow
    columns = tested_columns(node)
    if columns and max(columns) >= len(flow):
        return mixed([flow])  # the tree is wider than what was traced: the trace is not to be trusted
    return {source for column in columns for source in flow[column]}


def _integers(node: "NodeProto", name: str) -> Sequence[int]:
    from onnx import numpy_helper

    for attribute in node.attribute:
        if attribute.name == name:
            return attribute.ints or (numpy_helper.to_array(attribute.t).tolist() if attribute.HasField("t") else ())
    return ()
