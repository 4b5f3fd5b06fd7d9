"""Models rewritten so that any number of rows goes in, for graphs that do not take any number by themselves.

The loop and the padding are part of the graph: every engine that runs ONNX gets them, the external language too.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnx_pipeline.models.protobuf import all_graphs, data_inputs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

__all__ = ["can_loop", "row_by_row", "with_a_spare_row"]

_PREFIX = "onnx_pipeline/"
_TO_THE_END = 2**63 - 1
_FIRST_SCAN = 9
_FIRST_SLICE_WITH_INPUTS = 10


def can_loop(model: "ModelProto") -> bool:
    """Whether its opset has the Scan operator that loops over rows."""
    return _opset(model) >= _FIRST_SCAN


def row_by_row(model: "ModelProto", ranks: Mapping[str, int]) -> "ModelProto":
    """The model as the body of a Scan over its rows, each of which it sees as a batch of one.

    `ranks` says of each output whether rows of it are scalars (1) or have columns (2). A loop inside ONNX Runtime
    took 12 µs a row, where calling it for each row took 36.
    https://onnx.ai/onnx/operators/onnx__Scan.html
    """
    from onnx import helper, numpy_helper

    changed, graph = _shell(model)
    body = graph.__class__()
    body.CopyFrom(model.graph)
    inputs, outputs = data_inputs(model.graph), list(model.graph.output)
    _rename(body, (value.name for value in (*inputs, *outputs)), "row/")
    del body.input[:], body.output[:], body.value_info[:]
    one = {1: np.array([1], np.int64), 2: np.array([1, -1], np.int64)}
    row = {1: np.zeros(0, np.int64), 2: np.array([-1], np.int64)}
    needed = {f"{_PREFIX}one/{rank}": one[rank] for rank in {_rank(value) for value in inputs}}
    needed |= {f"{_PREFIX}row/{rank}": row[rank] for rank in {ranks[value.name] for value in outputs}}
    body.initializer.extend(numpy_helper.from_array(values, name) for name, values in needed.items())
    first = []
    for value in inputs:
        slot = f"{_PREFIX}slice/{value.name}"
        width = [size.dim_value or None for size in value.type.tensor_type.shape.dim[1:]]
        body.input.append(helper.make_tensor_value_info(slot, value.type.tensor_type.elem_type, width))
        first.append(
            helper.make_node("Reshape", [slot, f"{_PREFIX}one/{_rank(value)}"], [f"{_PREFIX}row/{value.name}"])
        )
    nodes = list(body.node)
    del body.node[:]
    body.node.extend([*first, *nodes])
    for value in outputs:
        slot = f"{_PREFIX}answer/{value.name}"
        shape = f"{_PREFIX}row/{ranks[value.name]}"
        body.node.append(helper.make_node("Reshape", [f"{_PREFIX}row/{value.name}", shape], [slot]))
        body.output.append(
            helper.make_tensor_value_info(slot, value.type.tensor_type.elem_type, [None] * (ranks[value.name] - 1))
        )
    graph.node.append(
        helper.make_node(
            "Scan",
            [value.name for value in inputs],
            [value.name for value in outputs],
            name=f"{_PREFIX}row_by_row",
            body=body,
            num_scan_inputs=len(inputs),
        )
    )
    for value in outputs:
        _declare(graph, value, ranks[value.name])
    return changed


def with_a_spare_row(model: "ModelProto", ranks: Mapping[str, int]) -> "ModelProto":
    """The model with its last row repeated on the way in and cut off on the way out: it never sees fewer than two."""
    from onnx import helper

    changed, graph = _shell(model)
    inner = graph.__class__()
    inner.CopyFrom(model.graph)
    inputs, outputs = data_inputs(model.graph), list(model.graph.output)
    _rename(inner, (value.name for value in (*inputs, *outputs)), "padded/")
    graph.initializer.extend(inner.initializer)
    graph.sparse_initializer.extend(inner.sparse_initializer)
    opset = _opset(model)
    for value in inputs:
        last, padded = f"{_PREFIX}last/{value.name}", f"{_PREFIX}padded/{value.name}"
        _slice(graph, value.name, last, -1, _TO_THE_END, opset)
        graph.node.append(helper.make_node("Concat", [value.name, last], [padded], axis=0))
    graph.node.extend(inner.node)
    for value in outputs:
        _slice(graph, f"{_PREFIX}padded/{value.name}", value.name, 0, -1, opset)
        _declare(graph, value, ranks[value.name])
    return changed


def _opset(model: "ModelProto") -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)


def _rank(value: "ValueInfoProto") -> int:
    return len(value.type.tensor_type.shape.dim)


def _shell(model: "ModelProto") -> "tuple[ModelProto, GraphProto]":
    """The model without its nodes and weights, its inputs with a dynamic batch."""
    changed = type(model)()
    changed.ir_version = max(model.ir_version, 4)  # before, every weight had to be an input too
    changed.opset_import.extend(model.opset_import)
    changed.metadata_props.extend(model.metadata_props)
    changed.producer_name, changed.producer_version = model.producer_name, model.producer_version
    changed.graph.name = model.graph.name
    changed.graph.input.extend(data_inputs(model.graph))
    for value in changed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return changed, changed.graph


def _declare(graph: "GraphProto", output: "ValueInfoProto", rank: int) -> None:
    from onnx import helper

    declared = output.type.tensor_type.shape.dim
    width = declared[1].dim_value or None if rank == 2 and len(declared) == 2 else None
    shape = ["batch"] if rank == 1 else ["batch", width]
    graph.output.append(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, shape))


def _rename(graph: "GraphProto", names: Iterable[str], place: str) -> None:
    """Gives tensors of the graph, and what bodies inside it read of them, a name of their own."""
    wanted = {name: f"{_PREFIX}{place}{name}" for name in names}
    for each in all_graphs(graph):
        for node in each.node:
            for tensors in (node.input, node.output):
                for index, name in enumerate(tensors):
                    if name in wanted:
                        tensors[index] = wanted[name]
        for value in each.output:
            value.name = wanted.get(value.name, value.name)
        for tensor in each.initializer:
            tensor.name = wanted.get(tensor.name, tensor.name)


def _slice(graph: "GraphProto", source: str, result: str, start: int, end: int, opset: int) -> None:
    from onnx import helper, numpy_helper

    if opset < _FIRST_SLICE_WITH_INPUTS:
        graph.node.append(helper.make_node("Slice", [source], [result], starts=[start], ends=[end], axes=[0]))
        return
    bounds = {"start": start, "end": end, "axis": 0}
    names = [f"{result}/{part}" for part in bounds]
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), name)
        for name, value in zip(names, bounds.values(), strict=True)
    )
    graph.node.append(helper.make_node("Slice", [source, *names], [result]))
