"""A model that takes its rows as columns: one input `[C, N]`, which the device transposes.

So the host copies each column as it lies, which runs at the speed of memory, and makes no matrix.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx_pipeline.models.protobuf import all_nodes, parse
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["columns_form", "has_columns_form"]

_DTYPES = frozenset({"double", "float", "float16", "int32", "int64"})
"""What CUDA's Transpose and Split take, and numpy has."""
_BATCH = "N"


def has_columns_form(inputs: Sequence[TensorSignature], widths: Sequence[int] | None) -> bool:
    """Whether all inputs are numbers of one dtype, of known widths."""
    return widths is not None and len({tensor.dtype for tensor in inputs} | {""}) == 2 and inputs[0].dtype in _DTYPES


def columns_form(
    data: bytes, inputs: Sequence[TensorSignature], widths: Sequence[int], *, source: str = "the model"
) -> tuple[bytes, str]:
    """The model with one input in the place of all, and that input's name.

    Its `[C, N]` are the columns of the inputs in their order, C the sum of their widths.
    """
    from onnx import helper

    model = parse(data, source=source)
    known = {value.name for value in model.graph.input} | {value.name for value in model.graph.initializer}
    known |= {name for node in all_nodes(model) for name in node.output}
    name = _free("columns", known)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    feeding = _feeding(model, name, inputs, widths, known)
    for node in reversed(feeding):
        model.graph.node.insert(0, node)
    fed = {tensor.name for tensor in inputs}
    kept = [value for value in model.graph.input if value.name not in fed]
    whole = helper.make_tensor_value_info(name, types[inputs[0].name], [sum(widths), _BATCH])
    del model.graph.input[:]
    model.graph.input.extend([whole, *kept])
    return model.SerializeToString(deterministic=True), name


def _feeding(
    model: "ModelProto", name: str, inputs: Sequence[TensorSignature], widths: Sequence[int], known: set[str]
) -> "list[NodeProto]":
    import numpy as np
    from onnx import helper, numpy_helper

    nodes: list[NodeProto] = []
    parts = [name]
    if len(inputs) > 1:
        parts = [_free(f"{name}_{tensor.name}", known) for tensor in inputs]
        nodes.append(_split(model, name, parts, widths, known))
    for tensor, part in zip(inputs, parts, strict=True):
        if len(tensor.shape) == 2:
            nodes.append(helper.make_node("Transpose", [part], [tensor.name], perm=[1, 0]))
            continue
        flat = _free(f"{name}_flat", known)
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), flat))
        nodes.append(helper.make_node("Reshape", [part, flat], [tensor.name]))
    return nodes


def _split(model: "ModelProto", name: str, parts: list[str], widths: Sequence[int], known: set[str]) -> "NodeProto":
    """Sizes are an attribute before opset 13, and an input since: https://onnx.ai/onnx/operators/onnx__Split.html"""
    import numpy as np
    from onnx import helper, numpy_helper

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < 13:
        return helper.make_node("Split", [name], parts, axis=0, split=list(widths))
    sizes = _free(f"{name}_widths", known)
    model.graph.initializer.append(numpy_helper.from_array(np.array(widths, np.int64), sizes))
    return helper.make_node("Split", [name, sizes], parts, axis=0)


def _free(wanted: str, known: set[str]) -> str:
    name, number = wanted, 0
    while name in known:
        number += 1
        name = f"{wanted}_{number}"
    known.add(name)
    return name
