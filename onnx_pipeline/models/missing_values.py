"""Which input columns mislead a model where they are NaN: trees whose exporter does not say where it goes, and labels.

skl2onnx drops scikit-learn's missing-value routing for decision trees and forests: with 10 % NaN per cell 11
to 20 % of the answers differ, silently. The nodes of a tree that does track them say so in
`nodes_missing_value_tracks_true`: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html

Where no node says so, NaN fails every test. That is right for libraries that route so where they saw no missing
value, and whose exporters write routing: measured without a difference for CatBoost 1.2.10 (each `nan_mode`), and
for XGBoost 3.2 and LightGBM 4.7 by onnxmltools 1.16. They are told by the producer, or within another's graph by
the comparison, since scikit-learn's trees compare by `<=` alone.

A label has no form for NaN: a linear classifier, neighbours or a Cast to an integer give a row of NaN some class, or
-9223372036854775808, where scikit-learn raises.
"""

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from onnx_pipeline.models.column_flow import Flow, Source, flows, mixed
from onnx_pipeline.models.facts import EVERY_COLUMN
from onnx_pipeline.models.protobuf import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["label_columns", "tested_columns", "tests_untracked", "untracked_columns"]

_TREES = frozenset({"TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"})
_ROUTING_PRODUCERS = frozenset({"CatBoost"})
_ROUTING_MODES = frozenset({b"BRANCH_LT", b"BRANCH_GT", b"BRANCH_GTE"})
"""XGBoost's, CatBoost's and H2O's comparisons of numbers."""
_LEAST_ONNXMLTOOLS = (1, 14)
"""Before that, nobody measured what onnxmltools writes for LightGBM's `<=`."""


def untracked_columns(model: "ModelProto", widths: dict[str, int | None]) -> frozenset[Source]:
    """(input, column index) of every input column whose NaN can reach a test in a tree without tracking.

    `widths` holds the columns of each input, None for a dynamic width. What is not understood counts as
    reached.
    """
    reached: set[Source] = set()
    trees = [node for node in model.graph.node if tests_untracked(node, model)]
    if trees:
        flow = flows(model.graph, widths)
        for node in trees:
            reached |= _tested(node, flow[node.input[0]])
    bodies = list(all_graphs(model.graph))[1:]
    if any(tests_untracked(node, model) for body in bodies for node in body.node):
        reached |= {(name, EVERY_COLUMN) for name in widths}
    return frozenset(reached)


def label_columns(
    model: "ModelProto", widths: dict[str, int | None], inputs: Collection[str], labels: Collection[str]
) -> frozenset[tuple[str, str, int]]:
    """(output, input, column index) of every input column whose NaN can reach an output that has no form for it.

    `inputs` are those of floats, which alone hold NaN, and `labels` the outputs of integers, booleans and text. What
    the graph deals with does not count: imputers, and trees, of which `untracked_columns` tells. What is not
    understood counts as passing NaN on.
    """
    if not labels:
        return frozenset()
    flow = flows(model.graph, widths)
    return frozenset(
        (label, name, index)
        for label in labels
        for name, index in mixed([flow.get(label, frozenset())])
        if name in inputs
    )


def tests_untracked(node: "NodeProto", model: "ModelProto") -> bool:
    """Whether a node is a tree ensemble of which nobody knows that it sends missing values where its library does."""
    if node.op_type not in _TREES or any(_integers(node, "nodes_missing_value_tracks_true")):
        return False
    return not _routes_by_library(model) and not _compares_as_routing_libraries(node)


def _routes_by_library(model: "ModelProto") -> bool:
    if model.producer_name == "OnnxMLTools":
        numbers = [int(part) for part in model.producer_version.split(".")[:2] if part.isdigit()]
        return tuple(numbers) >= _LEAST_ONNXMLTOOLS
    return model.producer_name in _ROUTING_PRODUCERS


def _compares_as_routing_libraries(node: "NodeProto") -> bool:
    modes = next((set(attribute.strings) for attribute in node.attribute if attribute.name == "nodes_modes"), set())
    return bool(modes & _ROUTING_MODES) and b"BRANCH_LEQ" not in modes


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
