"""Which input columns a model reads: no output is moved by the others, whatever stands in them.

From each output back through the graph, column by column: a tree reads the columns that it tests, a selection those
that it picks, and what works column by column what is read of it. Of an operator that is not known here, and of a
column of text, everything counts as read. A zero weight reads its column, since 0 × NaN is NaN, unless the column can
be neither missing nor infinite.

ONNX Runtime computes the whole graph, whatever is asked of it. So what may refuse a number, or fail of it, reads its
inputs for every output.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from onnx_pipeline.models.column_reach import Constants, Reaches, attribute, constants_of, reached
from onnx_pipeline.models.columns_read import Holding
from onnx_pipeline.models.labels import constant_values
from onnx_pipeline.models.missing_values import tested_columns
from onnx_pipeline.models.zero_weights import weighed

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
_TAKE_EVERY_NUMBER = _COLUMN_BY_COLUMN | (_ELEMENTWISE - {"Div"}) | _TREES | {
    "And", "ArgMax", "ArgMin", "BatchNormalization", "Concat", "Constant", "Elu", "Equal", "FeatureVectorizer", "Gelu",
    "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "IsInf", "IsNaN", "Less", "LessOrEqual", "LinearClassifier",
    "LinearRegressor", "Log", "LogSoftmax", "MatMul", "Max", "Mean", "Min", "Normalizer", "Not", "Or", "Reciprocal",
    "SVMClassifier", "SVMRegressor", "Selu", "Shape", "Softmax", "Softplus", "Sum", "Transpose", "Where", "ZipMap",
}  # fmt: skip
_TAKE_EVERY_NUMBER_BESIDE_CONSTANTS = frozenset({
    "ArrayFeatureExtractor", "Div", "Expand", "Flatten", "Gather", "Pow", "ReduceL1", "ReduceL2", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Reshape", "Slice", "Split",
    "Squeeze", "TopK", "Unsqueeze",
})  # fmt: skip
"""Where rows decide the first input alone."""
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def read_columns(
    graph: "GraphProto", inputs: Mapping[str, tuple[str, int | None]]
) -> dict[str, dict[str, dict[str, list[int] | None]]]:
    """By output, by what the columns hold (`Holding`), by input: the indices of the columns that may move the output.

    None where all may, or where nobody knows. `inputs` holds dtype and width of each input, None for a dynamic width.
    """
    reader = _Reader(graph, inputs)
    return {
        output.name: {holding.value: reader.read(output.name, holding) for holding in Holding}
        for output in graph.output
    }


class _Reader:
    """Walks one graph, once for each output and each holding."""

    def __init__(self, graph: "GraphProto", inputs: Mapping[str, tuple[str, int | None]]) -> None:
        self._graph = graph
        self._inputs = inputs
        self._widths = _widths(graph, {name: width for name, (_, width) in inputs.items()})
        self._constant: Constants = constants_of(graph)
        self._taken = {name for node in graph.node for name in node.input}
        self._has_bodies = any(each.HasField("g") or each.graphs for node in graph.node for each in node.attribute)
        self._tested = {node.output[0]: set(tested_columns(node)) for node in graph.node if _is(node, _TREES)}
        self._reaches: Mapping[str, Reaches] = (
            {}
            if self._has_bodies
            else reached(
                [node for node in graph.node if node.domain in _DOMAINS],
                inputs,
                self._constant,
                self._widths,
                lambda node: _picked(node, graph, self._widths),
                lambda node: _keeps(node, graph, self._widths),
            )
        )
        self._refusing = [name for node in graph.node if self._may_refuse(node) for name in node.input]

    def read(self, output: str, holding: Holding) -> dict[str, list[int] | None]:
        """By input the columns that may move an output."""
        # Of a node with a body everything counts as read, and so does whatever the body takes from outside.
        if self._has_bodies:
            return dict.fromkeys(self._inputs)
        read: dict[str, _Read] = dict.fromkeys([output, *self._refusing])
        for node in reversed(self._graph.node):
            outputs = [read[name] for name in node.output if name in read]
            if not outputs:
                continue
            for name, columns in zip(node.input, self._through(node, _union(outputs), holding), strict=True):
                read[name] = _union([columns, read[name]]) if name in read else columns
        return {name: self._of_input(name, read.get(name, set())) for name in self._inputs}

    def _of_input(self, name: str, read: _Read) -> list[int] | None:
        dtype, width = self._inputs[name]
        if dtype == "string":
            # What stands in for a text that is not read may be refused on the way, as an unknown category for instance.
            return None if name in self._taken or read is None else []
        return None if read is None or width is None or len(read) == width else sorted(read)

    def _may_refuse(self, node: "NodeProto") -> bool:
        if _is(node, _TAKE_EVERY_NUMBER):
            return False
        return not _is(node, _TAKE_EVERY_NUMBER_BESIDE_CONSTANTS) or not all(
            _is_constant(name, self._graph) for name in node.input[1:] if name
        )

    def _through(self, node: "NodeProto", read: _Read, holding: Holding) -> Sequence[_Read]:
        """What a node reads of each of its inputs, where `read` of its output is."""
        graph, widths = self._graph, self._widths
        everything: list[_Read] = [None] * len(node.input)
        first = node.input[0] if node.input else ""
        if node.domain not in _DOMAINS:
            return everything
        if node.op_type in _TREES:
            tested = self._tested[node.output[0]]
            width = widths.get(first)
            return [tested if width is not None and all(column < width for column in tested) else None]
        weightless = self._weightless(node, read, holding)
        if node.op_type in _COLUMN_BY_COLUMN or (
            node.op_type in ("Flatten", "Reshape") and _keeps(node, graph, widths)
        ):
            return [_without(read, weightless, widths.get(first)), *everything[1:]]
        if node.op_type in _ELEMENTWISE:
            return self._elementwise(node, read, weightless) or everything
        if node.op_type == "Concat" and _along_columns(node):
            return _of_parts(node, widths, read) or everything
        if node.op_type in ("ArrayFeatureExtractor", "Gather"):
            picked = _picked(node, graph, widths)
            if picked is not None:
                wanted = picked if read is None else [picked[place] for place in sorted(read) if place < len(picked)]
                return [set(wanted), *everything[1:]]
        return [_without(None, weightless, widths.get(first)), *everything[1:]] if node.input else everything

    def _elementwise(self, node: "NodeProto", read: _Read, weightless: Iterable[int]) -> Sequence[_Read] | None:
        width = self._widths.get(node.output[0])
        is_divided = node.op_type == "Div" and self._widths.get(node.input[1]) is not None
        if is_divided and not _is_constant(node.input[1], self._graph):
            return None  # a whole number that is not read would be divided by what stands in for it
        wanted = _without(read, weightless, width)
        return [wanted if width is not None and self._widths.get(name) == width else None for name in node.input]

    def _weightless(self, node: "NodeProto", read: _Read, holding: Holding) -> set[int]:
        """Columns of what moves a node that a zero makes nothing of, whatever number they hold."""
        if holding is Holding.ANYTHING:
            return set()
        moving = next((name for name in node.input if name in self._reaches), None)
        if moving is None:
            return set()
        reaches = self._reaches[moving]
        weights = weighed(node, moving, len(reaches), read, self._constant)
        if weights is None:
            return set()
        return {
            column
            for column, (weighs, reach) in enumerate(zip(weights, reaches, strict=True))
            if not weighs and reach is not None and not (reach.may_be_missing and holding is not Holding.KNOWN_NUMBERS)
        }


def _is(node: "NodeProto", op_types: frozenset[str]) -> bool:
    return node.domain in _DOMAINS and node.op_type in op_types


def _without(read: _Read, columns: Iterable[int], width: int | None) -> _Read:
    """What is read of a tensor, less some columns."""
    less = set(columns)
    if not less or width is None:
        return read
    return (set(range(width)) if read is None else read) - less


def _union(parts: Sequence[_Read]) -> _Read:
    merged: set[int] = set()
    for part in parts:
        if part is None:
            return None
        merged |= part
    return merged


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
    products = _products(graph)
    for node in graph.node:
        widths = [known.get(name) for name in node.input]
        made: int | None = None
        if node.domain not in _DOMAINS:
            pass
        elif node.op_type in _COLUMN_BY_COLUMN:
            made = widths[0]
        elif node.op_type == "Constant":
            values = constant_values(graph, node.output[0])
            made = len(values) if values is not None else None
        elif node.op_type in _ELEMENTWISE and None not in widths:
            made = max(width for width in widths if width is not None)
        elif node.op_type in ("Gemm", "MatMul"):
            made = products.get(node.output[0]) if widths[0] is not None else None
        elif node.op_type == "Concat" and _along_columns(node) and None not in widths:
            made = sum(width for width in widths if width is not None)
        elif node.op_type in ("ArrayFeatureExtractor", "Gather"):
            picked = _picked(node, graph, known)
            made = len(picked) if picked is not None else None
        elif node.op_type in ("Flatten", "Reshape") and _keeps(node, graph, known):
            made = widths[0]
        known.update(dict.fromkeys(node.output, made))
    return known


def _products(graph: "GraphProto") -> dict[str, int]:
    """By name of a product with a constant matrix its columns."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if len(tensor.dims) == _RANK}
    return {
        node.output[0]: dims[node.input[1]][0 if attribute(node, "transB", 0) else 1]
        for node in graph.node
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in dims and not attribute(node, "transA", 0)
    }


def _along_columns(node: "NodeProto") -> bool:
    return attribute(node, "axis") in (1, -1)


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
        return width is not None and attribute(node, "axis", 1) == 1
    shape = constant_values(graph, node.input[1])
    return shape is not None and width is not None and len(shape) == _RANK and shape[1] == width
