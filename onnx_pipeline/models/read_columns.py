"""Which input columns a model reads: no output is moved by the others, whatever stands in them.

From the outputs back through the graph, column by column: a tree reads the columns that it tests, a selection those
that it picks, and what works column by column what is read of it. Of an operator that is not known here, and of a
column of text, everything counts as read. A zero weight reads its column, since 0 × NaN is NaN.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from onnx_pipeline.models.labels import constant_values
from onnx_pipeline.models.missing_values import tested_columns

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["read_columns"]

_Read: TypeAlias = "set[int] | None"
"""Columns of a tensor; None: all of them."""

_COLUMN_BY_COLUMN = frozenset({
    "Abs", "Binarizer", "Cast", "Ceil", "Clip", "Erf", "Exp", "Floor", "Identity", "Imputer", "LeakyRelu", "Neg",
    "Relu", "Round", "Scaler", "Sigmoid", "Sign", "Sqrt", "Tanh",
})  # fmt: skip
"""Column k of what they give is made of column k of their first input; none of them refuses a number."""
_ELEMENTWISE = frozenset({"Add", "Div", "Mul", "Sub"})
_RANK = 2
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})


def read_columns(graph: "GraphProto", inputs: Mapping[str, tuple[str, int | None]]) -> dict[str, list[int] | None]:
    """By input the indices of the columns that may move an output; None where all may, or where nobody knows.

    `inputs` holds dtype and width of each input, None for a dynamic width.
    """
    widths = _widths(graph, {name: width for name, (_, width) in inputs.items()})
    read: dict[str, _Read] = {output.name: None for output in graph.output}
    for node in reversed(graph.node):
        outputs = [read[name] for name in node.output if name in read]
        if not outputs:
            continue
        # Of a node with a body everything counts as read, and so does whatever the body takes from outside.
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return dict.fromkeys(inputs)
        for name, columns in zip(node.input, _through(node, graph, widths, _union(outputs)), strict=True):
            read[name] = _union([columns, read[name]]) if name in read else columns
    found = {
        name: _of_input(read[name], dtype, width) if name in read else [] for name, (dtype, width) in inputs.items()
    }
    # A model that reads nothing is fed as it came: its rows still have to be counted by something.
    return dict.fromkeys(inputs) if all(columns == [] for columns in found.values()) else found


def _of_input(read: _Read, dtype: str, width: int | None) -> list[int] | None:
    # What stands in for a text that is not read may be refused on the way, an encoder's unknown category for instance.
    if read is None or width is None or dtype == "string" or len(read) == width:
        return None
    return sorted(read)


def _union(parts: Sequence[_Read]) -> _Read:
    merged: set[int] = set()
    for part in parts:
        if part is None:
            return None
        merged |= part
    return merged


def _through(node: "NodeProto", graph: "GraphProto", widths: Mapping[str, int | None], read: _Read) -> Sequence[_Read]:
    """What a node reads of each of its inputs, where `read` of its output is."""
    everything: list[_Read] = [None] * len(node.input)
    first = node.input[0] if node.input else ""
    if node.op_type in _TREES:
        tested = set(tested_columns(node))
        width = widths.get(first)
        return [tested if width is not None and all(column < width for column in tested) else None]
    if node.op_type in _COLUMN_BY_COLUMN or (node.op_type in ("Flatten", "Reshape") and _keeps(node, graph, widths)):
        return [read, *everything[1:]]
    if node.op_type in _ELEMENTWISE:
        width = widths.get(node.output[0])
        if node.op_type == "Div" and widths.get(node.input[1]) is not None and not _is_constant(node.input[1], graph):
            return everything  # a whole number that is not read would be divided by what stands in for it
        return [read if width is not None and widths.get(name) == width else None for name in node.input]
    if node.op_type == "Concat" and _along_columns(node):
        return _of_parts(node, widths, read) or everything
    if node.op_type in ("ArrayFeatureExtractor", "Gather"):
        picked = _picked(node, graph, widths)
        if picked is not None:
            wanted = picked if read is None else [picked[place] for place in sorted(read) if place < len(picked)]
            return [set(wanted), *everything[1:]]
    return everything


def _of_parts(node: "NodeProto", widths: Mapping[str, int | None], read: _Read) -> Sequence[_Read] | None:
    """Of each part the columns that are read of the whole; None where a part's width is not known."""
    if read is None:
        return None
    found: list[_Read] = []
    start = 0
    for name in node.input:
        width = widths.get(name)
        if width is None:
            return None
        found.append({column - start for column in read if start <= column < start + width})
        start += width
    return found


def _widths(graph: "GraphProto", inputs: Mapping[str, int | None]) -> dict[str, int | None]:
    """The columns of tensors `[N, F]`, as far as these operators tell; constants by their last dimension."""
    known: dict[str, int | None] = {
        tensor.name: tensor.dims[-1] if tensor.dims else 1 for tensor in graph.initializer if len(tensor.dims) <= _RANK
    }
    known |= inputs
    for node in graph.node:
        widths = [known.get(name) for name in node.input]
        made: int | None = None
        if node.op_type in _COLUMN_BY_COLUMN:
            made = widths[0]
        elif node.op_type == "Constant":
            values = constant_values(graph, node.output[0])
            made = len(values) if values is not None else None
        elif node.op_type in _ELEMENTWISE and None not in widths:
            made = max(width for width in widths if width is not None)
        elif node.op_type == "Concat" and _along_columns(node) and None not in widths:
            made = sum(width for width in widths if width is not None)
        elif node.op_type in ("ArrayFeatureExtractor", "Gather"):
            picked = _picked(node, graph, known)
            made = len(picked) if picked is not None else None
        elif node.op_type in ("Flatten", "Reshape") and _keeps(node, graph, known):
            made = widths[0]
        known.update(dict.fromkeys(node.output, made))
    return known


def _along_columns(node: "NodeProto") -> bool:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None) in (1, -1)


def _is_constant(name: str, graph: "GraphProto") -> bool:
    return constant_values(graph, name) is not None


def _picked(node: "NodeProto", graph: "GraphProto", widths: Mapping[str, int | None]) -> list[int] | None:
    """The columns that a selection by constants picks, in order."""
    width, indices = widths.get(node.input[0]), constant_values(graph, node.input[1])
    if (node.op_type == "Gather" and not _along_columns(node)) or indices is None or width is None:
        return None
    picked = [index for index in indices if isinstance(index, int) and -width <= index < width]
    return [index % width for index in picked] if len(picked) == len(indices) else None


def _keeps(node: "NodeProto", graph: "GraphProto", widths: Mapping[str, int | None]) -> bool:
    """Whether a Reshape to `[-1, F]`, or a Flatten of `[N, F]`, leaves columns as they are."""
    width = widths.get(node.input[0])
    if node.op_type == "Flatten":
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        return width is not None and axis == 1
    shape = constant_values(graph, node.input[1])
    return shape is not None and width is not None and len(shape) == _RANK and shape[1] == width
