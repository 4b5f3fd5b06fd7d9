"""The shape of every tensor, with the batch as a symbol: ONNX's own inference, on a copy without large weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.models.protobuf import all_graphs, data_inputs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["BATCH", "Shape", "Shapes", "attributes", "infer"]

BATCH = "onnx_pipeline_batch"
Shape = tuple[int | str | None, ...]
"""A number, a symbol, or None for what is not known, per axis."""

_SMALL = 256
"""Elements up to which a constant may be a shape or a list of axes."""


@dataclass(frozen=True)
class Shapes:
    """What is known of tensors by their name, in the graph and in the bodies inside it."""

    known: dict[str, Shape]
    constants: dict[str, np.ndarray[Any, Any]]
    """The small ones."""

    def of(self, name: str) -> Shape | None:
        return self.known.get(name)

    def rank(self, name: str) -> int | None:
        shape = self.known.get(name)
        return None if shape is None else len(shape)

    def batch_axes(self, name: str) -> list[int]:
        """The axes that surely are the batch."""
        return [axis for axis, size in enumerate(self.known.get(name) or ()) if size == BATCH]

    def constant(self, name: str) -> list[int] | None:
        """The values of a small constant as integers, flat; None for anything else."""
        values = self.constants.get(name)
        return None if values is None else [int(value) for value in values.reshape(-1)]


def attributes(node: "NodeProto") -> dict[str, Any]:
    """A node's attributes that are numbers, texts or lists of them; those of trees, which are long, left out."""
    from onnx import helper

    return {
        attribute.name: helper.get_attribute_value(attribute)
        for attribute in node.attribute
        if not attribute.HasField("g") and not attribute.name.startswith(("nodes_", "class_", "target_", "leaf_"))
    }


def infer(model: "ModelProto") -> Shapes:
    """The shapes and small constants of a model whose inputs have the batch as their first dimension."""
    from onnx import numpy_helper, shape_inference

    known: dict[str, Shape] = {}
    constants: dict[str, np.ndarray[Any, Any]] = {}
    for graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            known[tensor.name] = tuple(tensor.dims)
            if _elements(tensor.dims) <= _SMALL and tensor.data_type != tensor.STRING:
                constants[tensor.name] = numpy_helper.to_array(tensor)
        for node in graph.node:
            if node.op_type == "Constant":
                values = _constant(node)
                if values is not None:
                    known[node.output[0]] = values.shape
                    if values.size <= _SMALL and values.dtype.kind in "biuf":
                        constants[node.output[0]] = values
    try:
        inferred = shape_inference.infer_shapes(_bare(model), data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError):
        # It gives up on models that ONNX Runtime takes; the operators' own rules have to do then.
        return Shapes(known, constants)
    for graph in all_graphs(inferred.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor_type = value.type.tensor_type
            if tensor_type.HasField("shape") and value.name not in known:
                known[value.name] = tuple(
                    size.dim_value if size.HasField("dim_value") else size.dim_param or None
                    for size in tensor_type.shape.dim
                )
    return Shapes(known, constants)


def _elements(dims: Iterable[int]) -> int:
    return int(np.prod(list(dims), dtype=np.int64))


def _constant(node: "NodeProto") -> np.ndarray[Any, Any] | None:
    from onnx import numpy_helper

    for attribute in node.attribute:
        if attribute.name == "value":
            return numpy_helper.to_array(attribute.t)
        if attribute.name in {"value_ints", "value_int"}:
            return np.array(attribute.ints if attribute.ints or attribute.name[-1] == "s" else attribute.i)
        if attribute.name in {"value_floats", "value_float"}:
            return np.array(attribute.floats if attribute.floats or attribute.name[-1] == "s" else attribute.f)
    return None


def _bare(model: "ModelProto") -> "ModelProto":
    """A copy to infer from: the batch named, nothing claimed that the exporter says of other shapes, no large weights.

    Inference serialises what it is given; without weights and trees that takes milliseconds for any model.
    """
    bare = type(model)()
    bare.ir_version = max(model.ir_version, 4)
    bare.opset_import.extend(model.opset_import)
    imported = {entry.domain for entry in model.opset_import}
    for domain in {node.domain for graph in all_graphs(model.graph) for node in graph.node} - imported:
        bare.opset_import.add(domain=domain, version=1)  # ONNX Runtime wants no import of its own domain
    _copy(model.graph, bare.graph)
    rows = {value.name for value in data_inputs(model.graph)}
    for value in bare.graph.input:
        shape = value.type.tensor_type.shape
        if value.name in rows and shape.dim:
            shape.dim[0].Clear()
            shape.dim[0].dim_param = BATCH
            for other in shape.dim[1:]:
                if other.dim_param:
                    other.dim_param = f"{other.dim_param}/column"
    return bare


def _copy(graph: "GraphProto", bare: "GraphProto") -> None:
    from onnx import helper

    bare.name = graph.name or "graph"
    bare.input.extend(graph.input)
    for value in graph.output:
        bare.output.add().name = value.name
        bare.output[-1].type.CopyFrom(value.type)
        if bare.output[-1].type.HasField("tensor_type"):
            bare.output[-1].type.tensor_type.ClearField("shape")
    listed = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if _elements(tensor.dims) <= _SMALL:
            bare.initializer.append(tensor)
        elif tensor.name not in listed:
            bare.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for node in graph.node:
        if node.domain == "ai.onnx.ml" and sum(len(each.floats) + len(each.ints) for each in node.attribute) > _SMALL:
            short = bare.node.add()
            short.op_type, short.domain, short.name = node.op_type, node.domain, node.name
            short.input.extend(node.input)
            short.output.extend(node.output)
            continue
        bare.node.append(node)
