"""From bytes to a checked ModelProto: what is not a model, and what has no form as columns, ends here."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import InvalidModelError, UnsupportedModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["all_graphs", "all_nodes", "data_inputs", "dtype_name", "feature_names", "parse", "texts"]

_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft"})
"""The operators that ONNX Runtime brings; any other domain needs a library that it would have to load."""


def parse(data: bytes, *, source: str) -> "ModelProto":
    """The model in `data`, with its local functions inlined.

    Raises InvalidModelError for bytes that are no ONNX model, UnsupportedModelError for external data and
    custom operators. `source` is what messages call it.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto
    from onnx.inliner import inline_local_functions

    if not data:
        raise InvalidModelError(f"{source} is empty (0 bytes); copy the model again")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise InvalidModelError(f"{source} is not an ONNX model, or is truncated: {_hint(data)}") from error
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise InvalidModelError(
            f"{source} is not a whole ONNX model (its graph has {len(model.graph.node)} nodes and "
            f"{len(model.graph.output)} outputs), or is truncated: {_hint(data)}"
        )
    _refuse_external_data(model, source)
    _refuse_custom_operators(model, source)
    return inline_local_functions(model) if model.functions else model


def dtype_name(elem_type: int, *, tensor: str) -> str:
    """ONNX Runtime's name of an element type: `float`, `int64`, `string`, ..."""
    from onnx import TensorProto

    if elem_type == TensorProto.UNDEFINED:
        raise InvalidModelError(f"tensor {tensor!r} declares no dtype; export the model again")
    return str(TensorProto.DataType.Name(elem_type)).lower()


def feature_names(model: "ModelProto") -> tuple[tuple[str, ...] | None, list[str]]:
    """The metadata property `feature_names`, and a remark where it is not the JSON list that it should be."""
    for entry in model.metadata_props:
        if entry.key != "feature_names":
            continue
        try:
            names = json.loads(entry.value)
        except json.JSONDecodeError:
            names = None
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names), []
        return None, ["the metadata property feature_names is not a JSON list of names, so it is not used"]
    return None, []


def data_inputs(graph: "GraphProto") -> "list[ValueInfoProto]":
    """The inputs that rows fill: up to IR version 3, weights are listed among the inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in weights]


def all_graphs(graph: "GraphProto") -> "Iterator[GraphProto]":
    """The graph and, depth first, the bodies of its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from all_graphs(body)


def all_nodes(model: "ModelProto") -> "Iterator[NodeProto]":
    """Every node of the model: of the graph, of bodies inside it, of local functions."""
    for graph in all_graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def texts(model: "ModelProto") -> Iterator[str]:
    """Every text that the model holds: of its weights and of its nodes' attributes, names of modes among them."""
    for tensor in _tensors(model):
        yield from (text.decode(errors="replace") for text in tensor.string_data)
    for node in all_nodes(model):
        for attribute in node.attribute:
            yield from (text.decode(errors="replace") for text in (attribute.s, *attribute.strings))


def _tensors(model: "ModelProto") -> "Iterable[TensorProto]":
    for graph in all_graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _refuse_external_data(model: "ModelProto", source: str) -> None:
    from onnx import TensorProto

    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            file = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            raise UnsupportedModelError(
                f"{source} keeps the weights {tensor.name!r} as external data in {file!r}, and models load "
                "from their bytes alone; save it in one file, by "
                "onnx.save_model(onnx.load(path), path, save_as_external_data=False)"
            )


def _refuse_custom_operators(model: "ModelProto", source: str) -> None:
    local = {(function.domain, function.name) for function in model.functions}
    custom = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in all_nodes(model)
            if node.domain not in _KNOWN_DOMAINS and (node.domain, node.op_type) not in local
        }
    )
    if custom:
        raise UnsupportedModelError(
            f"{source} uses custom operators, whose code no pool may load: {', '.join(custom)}; export it "
            "with the operators of ONNX (domains ai.onnx, ai.onnx.ml) or ONNX Runtime (com.microsoft)"
        )


def _hint(data: bytes) -> str:
    """What such bytes usually are."""
    start = data[:64].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run `git lfs pull`"
    if start.startswith((b"<", b"{")):
        return "it is a text document, such as the error page of a download; fetch the model again"
    if start.startswith(b"pk"):
        return "it is a zip archive; unpack it, or export the model to ONNX"
    return f"{len(data):,} bytes do not parse; copy or export the model again"
