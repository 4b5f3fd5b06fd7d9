"""Which class each column of an `[N, K]` output is about."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["class_labels", "constant_values", "labels_attribute"]

_COLUMN_KEEPING = frozenset({"Cast", "Clip", "Div", "Identity", "Normalizer", "Sigmoid", "Softmax"})
"""Operators between a classifier's scores and the output that leave column k about class k."""
_LABEL_KEEPING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Flatten"})


def labels_attribute(node: "NodeProto") -> tuple[str, ...] | None:
    """The `classlabels_*` of a classifier or ZipMap node, as text."""
    for attribute in node.attribute:
        if attribute.name.startswith(("classlabels_string", "classlabels_int")):
            values = attribute.strings or attribute.ints
            if values:
                return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
    return None


def class_labels(graph: "GraphProto", output: str, width: int | None) -> tuple[str, ...] | None:
    """The classes of an output's columns, by walking back to the classifier; None where none are stated.

    `width` is the output's K; labels of another number are somebody else's. None where K is not known.
    Two forms: a classifier node that carries its labels (linear models, trees, SVMs), and labels picked from
    a list by the ArgMax of this output (what skl2onnx writes for networks, boosting, naive Bayes and
    neighbours).
    """
    producers = {name: node for node in graph.node for name in node.output}
    source = _walk(producers, output, _COLUMN_KEEPING)
    node = producers.get(source)
    found = labels_attribute(node) if node is not None and len(node.output) > 1 and node.output[1] == source else None
    if found is None:
        found = _picked_labels(graph, producers, {source, output})
    return found if found is not None and width in {None, len(found)} else None


def constant_values(graph: "GraphProto", name: str) -> "list[object] | None":
    """The values of an initializer or Constant node, flat; None for anything that rows may change."""
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return list(numpy_helper.to_array(tensor).reshape(-1).tolist())
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    return list(numpy_helper.to_array(attribute.t).reshape(-1).tolist())
                if attribute.name in {"value_ints", "value_floats", "value_strings"}:
                    return [*attribute.ints, *attribute.floats, *attribute.strings]
                if attribute.name in {"value_int", "value_float"}:
                    return [attribute.i if attribute.name == "value_int" else attribute.f]
    return None


def _walk(producers: "dict[str, NodeProto]", name: str, through: frozenset[str]) -> str:
    while (node := producers.get(name)) is not None and node.op_type in through:
        name = node.input[0]
    return name


def _picked_labels(graph: "GraphProto", producers: "dict[str, NodeProto]", scores: set[str]) -> tuple[str, ...] | None:
    for node in graph.node:
        if node.op_type not in {"ArrayFeatureExtractor", "Gather"}:
            continue
        index = producers.get(_walk(producers, node.input[1], _LABEL_KEEPING))
        if index is None or index.op_type not in {"ArgMax", "TopK"}:
            continue
        labels = constant_values(graph, node.input[0])
        if labels is not None and _walk(producers, index.input[0], _COLUMN_KEEPING) in scores:
            return tuple(label.decode() if isinstance(label, bytes) else str(label) for label in labels)
    return None
