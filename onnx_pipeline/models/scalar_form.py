"""A model as scalars: one input `[1, 1]` per column, one output `[1, 1]` per prediction.

That is what PREDICT of a Synapse dedicated SQL pool takes. Its batch is one row: an input declared `[None, 2]` was
refused there as `[1,2]`. https://github.com/solliancenet/azure-synapse-analytics-day/issues/28
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.base.rules import is_float
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.protobuf import all_graphs, all_nodes, data_inputs, parse
from onnx_pipeline.models.scalar_nodes import Nodes
from onnx_pipeline.models.signature import Signature

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

__all__ = ["CARRIERS", "ScalarColumn", "ScalarForm", "ScalarOutput", "scalar_form"]

CARRIERS = {
    "float": "float", "double": "double", "int64": "int64", "int32": "int32", "string": "string",
    "float16": "float", "bool": "int32", "int8": "int32", "int16": "int32", "uint8": "int32", "uint16": "int32",
    "uint32": "int64",
}  # fmt: skip
"""By a tensor's dtype, in which of the five that have a form as a scalar its values travel without loss.

`uint64` has none: no signed integer holds it."""
_NARROWER = {
    "double": {"float", "float16"},
    "float": {"float16"},
    "int64": {"uint32", "int32", "uint16", "int16", "uint8", "int8"},
    "uint32": {"uint16", "uint8"},
    "int32": {"int16", "int8"},
    "uint16": {"uint8"},
    "int16": {"int8"},
}
"""By the dtype that a column is read in, those into which a value of it may not fit."""


@dataclass(frozen=True)
class ScalarColumn:
    """One column and the inputs that it fills."""

    column: str
    dtype: str
    """Of the input: one of the five."""
    name: str
    """The input of its values."""
    there: str | None
    """The input that is 1 where the column has a value. Where it has none, both inputs are 0, and the model sees NaN.
    None where nothing is missing that is scored."""


@dataclass(frozen=True)
class ScalarOutput:
    """One prediction."""

    name: str
    dtype: str
    """One of the five."""
    is_number: str | None
    """The output of int32 that is 1 where a float is a number. Where it is NaN or infinite, both outputs are 0. None of
    other dtypes, and of operator sets before 9, which lack Where: there `name` gives what the model gives."""


@dataclass(frozen=True)
class ScalarForm:
    """What a model becomes."""

    data: bytes
    columns: tuple[ScalarColumn, ...]
    outputs: tuple[ScalarOutput, ...]
    """In the order of the predictions that are wanted."""


def scalar_form(
    data: bytes,
    signature: Signature,
    binding: Binding,
    outputs: Sequence[OutputColumn],
    *,
    sha256: str,
    may_miss: Collection[str],
) -> ScalarForm:
    """A normalised model that takes any number of rows, rewritten. `sha256` is that of its bytes as they came.

    `may_miss` are the columns of floats in which a missing value is NaN. The same arguments give the same bytes.
    Raises UnsupportedModelError, naming tensor and dtype, for a column or a prediction that has no form as a scalar.
    """
    model = parse(data, source="the model")
    nodes = Nodes(_opset(model), _taken_names(model))
    columns = tuple(_columns(binding, may_miss, nodes))
    by_column = {column.column: column for column in columns}
    before: dict[str, str] = {}
    for column in columns:
        before[column.column] = nodes.nan_where_missing(column.name, column.there, column.dtype)
    for bound in binding.inputs:
        _fill(bound, by_column, before, nodes)
    body = list(model.graph.node)
    made = tuple(_take_outputs(signature, outputs, nodes.after()))
    graph = model.graph
    _declare(graph, columns, made)
    del graph.node[:]
    graph.node.extend([*nodes.before, *body, *nodes.behind])
    del graph.value_info[:]  # they speak of another batch
    _keep_origin(model, sha256)
    nodes.add_opsets(model)
    return ScalarForm(model.SerializeToString(deterministic=True), columns, made)


def _opset(model: "ModelProto") -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _taken_names(model: "ModelProto") -> set[str]:
    """Every name of a value, in the graph and in bodies inside it."""
    taken = {name for node in all_nodes(model) for name in (*node.input, *node.output)}
    for graph in all_graphs(model.graph):
        taken |= {value.name for value in (*graph.input, *graph.output)}
        taken |= {weights.name for weights in graph.initializer}
        taken |= {weights.values.name for weights in graph.sparse_initializer}
    return taken


def _columns(binding: Binding, may_miss: Collection[str], nodes: Nodes) -> Iterator[ScalarColumn]:
    narrowed = {
        (column, bound.tensor.dtype)
        for bound in binding.inputs
        for column in bound.read
        if bound.tensor.dtype in _NARROWER.get(binding.columns[column], ())
    }
    for column, dtype in sorted(narrowed):
        raise UnsupportedModelError(
            f"column {column!r} fills inputs of {binding.columns[column]} and of {dtype}, and a value of the one may "
            "not fit the other; select it twice in the source query, once per dtype, and name both in `features`"
        )
    for index, (column, dtype) in enumerate(binding.columns.items()):
        carrier = CARRIERS.get(dtype)
        if carrier is None:
            raise UnsupportedModelError(
                f"column {column!r} fills an input of {dtype}, which no column of "
                f"{', '.join(dict.fromkeys(CARRIERS.values()))} holds; export the model with another dtype"
            )
        missing = column in may_miss and is_float(dtype)
        yield ScalarColumn(column, carrier, nodes.stem(f"f{index}"), nodes.stem(f"there{index}") if missing else None)


def _fill(bound: InputBinding, columns: dict[str, ScalarColumn], values: dict[str, str], nodes: Nodes) -> None:
    """The tensor under its own name, from the scalars."""
    dtype = bound.tensor.dtype
    places = []
    for place, column in enumerate(bound.columns):
        if place in bound.unread:
            places.append(nodes.nothing(dtype))
        else:
            places.append(nodes.cast(values[column], columns[column].dtype, dtype))
    nodes.row(places, bound.tensor.name, flat=len(bound.tensor.shape) == 1)


def _take_outputs(signature: Signature, outputs: Sequence[OutputColumn], nodes: Nodes) -> Iterator[ScalarOutput]:
    tensors = {tensor.name: tensor for tensor in signature.outputs}
    for index, column in enumerate(outputs):
        tensor = tensors[column.output]
        carrier = CARRIERS.get(tensor.dtype)
        if carrier is None:
            raise UnsupportedModelError(
                f"output {column.output!r} is {tensor.dtype}, which has no form as a scalar; leave it out of "
                "`outputs`, or export the model with a Cast"
            )
        width = tensor.width or 1
        name, flag = nodes.stem(f"p{index}"), nodes.stem(f"number{index}")
        value = nodes.element(column.output, tensor.dtype, carrier, width=width, index=column.index or 0)
        flagged = is_float(carrier) and nodes.tells_numbers
        if flagged:
            value = nodes.number(value, carrier, flag)
        nodes.put(value, name)
        yield ScalarOutput(name, carrier, flag if flagged else None)


def _declare(graph: "GraphProto", columns: Sequence[ScalarColumn], outputs: Sequence[ScalarOutput]) -> None:
    from onnx import TensorProto, helper

    def scalar(name: str, dtype: str) -> "ValueInfoProto":
        return helper.make_tensor_value_info(name, getattr(TensorProto, dtype.upper()), [1, 1])

    data = {value.name for value in data_inputs(graph)}
    kept = [value for value in graph.input if value.name not in data]
    del graph.input[:]
    for column in columns:
        graph.input.append(scalar(column.name, column.dtype))
        if column.there is not None:
            graph.input.append(scalar(column.there, column.dtype))
    graph.input.extend(kept)
    del graph.output[:]
    for output in outputs:
        graph.output.append(scalar(output.name, output.dtype))
        if output.is_number is not None:
            graph.output.append(scalar(output.is_number, "int32"))


def _keep_origin(model: "ModelProto", sha256: str) -> None:
    """Says what it was made of, and no longer what its columns were."""
    kept = [entry for entry in model.metadata_props if entry.key not in ("feature_names", "scalar_form_of")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key="scalar_form_of", value=sha256)
