"""Data flow through a graph: from which input columns the NaN in each column of each tensor may come."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from onnx_pipeline.models.facts import EVERY_COLUMN
from onnx_pipeline.models.labels import constant_values

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["Flow", "Source", "flows", "mixed"]

Source: TypeAlias = tuple[str, int]
Flow: TypeAlias = tuple[frozenset[Source], ...] | frozenset[Source]
"""Per column the sources of its NaN; or one set, where any column may hold NaN from any of them."""

_CLEAN: Flow = frozenset()

_ONE_INPUT = frozenset({
    "Abs", "Binarizer", "Cast", "CastLike", "Ceil", "Clip", "Dropout", "Erf", "Exp", "Floor", "Identity",
    "LeakyRelu", "Log", "Neg", "Reciprocal", "Relu", "Round", "Scaler", "Sigmoid", "Sign", "Sqrt", "Tanh",
})  # fmt: skip
"""Element by element on the first input; what else they take are parameters."""
_ELEMENTWISE = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "Pow", "Sub", "Sum"})
_QUESTIONS = frozenset({"IsInf", "IsNaN", "Shape", "Size"})
"""What they answer is no NaN, and who asks whether something is missing deals with it."""
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})


def flows(graph: "GraphProto", widths: Mapping[str, int | None]) -> dict[str, Flow]:
    """The flow of every tensor of the graph, bodies of control flow aside.

    `widths` holds the columns of each input, None for a dynamic width. An operator that is not known is taken
    to pass every column of its inputs to every column of its outputs.
    """
    known: dict[str, Flow] = {"": _CLEAN}
    for name, width in widths.items():
        known[name] = (
            frozenset({(name, EVERY_COLUMN)})
            if width is None
            else tuple(frozenset({(name, index)}) for index in range(width))
        )
    constants = {tensor.name for tensor in graph.initializer} | {
        tensor.values.name for tensor in graph.sparse_initializer
    }
    known.update(dict.fromkeys(constants - widths.keys(), _CLEAN))
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        flow = _through(node, graph, producers, known)
        known.update(dict.fromkeys(node.output, flow))
    return known


def mixed(parts: Iterable[Flow]) -> frozenset[Source]:
    """All sources of all columns."""
    return frozenset(
        source for part in parts for group in (part if isinstance(part, tuple) else (part,)) for source in group
    )


def _through(
    node: "NodeProto", graph: "GraphProto", producers: "Mapping[str, NodeProto]", known: Mapping[str, Flow]
) -> Flow:
    inputs = [known.get(name, _CLEAN) for name in node.input]
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return mixed(known.values())  # a body reads whatever it likes from outside
    if node.op_type in _TREES | _QUESTIONS or (node.op_type == "Imputer" and _fills_nan(node)):
        return _CLEAN  # comparisons and leaf weights, or the imputed value: no NaN comes out
    if node.op_type in {*_ONE_INPUT, "Imputer"}:
        return inputs[0]
    if node.op_type in _ELEMENTWISE:
        return _elementwise(inputs, [_spreads(name, graph) for name in node.input])
    if node.op_type in {"Concat", "FeatureVectorizer"}:
        return _concatenated(node, inputs)
    if node.op_type in {"ArrayFeatureExtractor", "Gather"}:
        return _picked(node, graph, inputs)
    if node.op_type in {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}:
        return _reshaped(node, graph, inputs[0])
    if node.op_type == "Where":
        return _where(node, graph, producers, inputs)
    return mixed(inputs)


def _fills_nan(node: "NodeProto") -> bool:
    """An Imputer replaces one value, which is NaN only where it says so, and 0 by default."""
    replaced = [attribute.f for attribute in node.attribute if attribute.name == "replaced_value_float"]
    filling = [
        value for attribute in node.attribute if attribute.name == "imputed_value_floats" for value in attribute.floats
    ]
    return bool(replaced and math.isnan(replaced[0]) and filling and not any(map(math.isnan, filling)))


def _elementwise(inputs: Sequence[Flow], spreads: Sequence[bool]) -> Flow:
    """Column by column, after broadcasting; `spreads` says which inputs are constants of several columns."""
    fed = [part for part in inputs if mixed([part])]
    tuples = [part for part in fed if isinstance(part, tuple)]
    width = max((len(part) for part in tuples), default=0)
    if len(tuples) < len(fed) or any(len(part) not in {1, width} for part in tuples):
        return mixed(fed)
    if width == 1 and any(spreads):
        return mixed(fed)  # the one column was broadcast into several
    return tuple(
        frozenset[Source]().union(*(part[0] if len(part) == 1 else part[index] for part in tuples))
        for index in range(width)
    )


def _spreads(name: str, graph: "GraphProto") -> bool:
    """Whether a tensor is a constant of more than one value."""
    return any(tensor.name == name and math.prod(tensor.dims) > 1 for tensor in graph.initializer) or any(
        node.op_type == "Constant" and name in node.output and len(constant_values(graph, name) or ()) > 1
        for node in graph.node
    )


def _concatenated(node: "NodeProto", inputs: Sequence[Flow]) -> Flow:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    known = [part for part in inputs if isinstance(part, tuple)]
    if axis not in {1, -1} or len(known) < len(inputs):
        return mixed(inputs)
    return tuple(group for part in known for group in part)


def _picked(node: "NodeProto", graph: "GraphProto", inputs: Sequence[Flow]) -> Flow:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    columns = constant_values(graph, node.input[1])
    source = inputs[0]
    along_columns = node.op_type == "ArrayFeatureExtractor" or axis in {1, -1}
    if not along_columns or columns is None or not isinstance(source, tuple):
        return mixed(inputs)
    indices = [column for column in columns if isinstance(column, int)]
    if len(indices) != len(columns) or any(not -len(source) <= index < len(source) for index in indices):
        return mixed(inputs)
    return tuple(source[index] for index in indices)


def _reshaped(node: "NodeProto", graph: "GraphProto", source: Flow) -> Flow:
    """One column stays one column; several stay apart where the last dimension is stated to be theirs."""
    if not isinstance(source, tuple) or len(source) == 1:
        return source
    shape = constant_values(graph, node.input[1]) if node.op_type == "Reshape" else None
    return source if shape is not None and len(shape) == 2 and shape[1] == len(source) else mixed([source])


def _where(
    node: "NodeProto", graph: "GraphProto", producers: "Mapping[str, NodeProto]", inputs: Sequence[Flow]
) -> Flow:
    """`Where(IsNaN(x), filling, x)` is an imputer written by hand."""
    condition = producers.get(node.input[0])
    if condition is not None and condition.op_type == "IsNaN" and condition.input[0] == node.input[2]:
        return inputs[1]
    return _elementwise(inputs, [_spreads(name, graph) for name in node.input])
