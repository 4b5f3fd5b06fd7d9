"""Weights among the inputs: with a value they are no features, without one the export is broken."""

import re
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.models.protobuf import data_inputs, dtype_name

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["refuse_weights", "without_weights"]

_SHOWN = 5
_WEIGHT_NAME = re.compile(
    r"(^|[._/:])((weight|bias)(_[a-z]+(_l\d+)?)?|kernel|gamma|beta|running_mean|running_var)(:\d+)?$",
    re.IGNORECASE,
)
"""How PyTorch and Keras name parameters."""
_FIRST_IR_WITHOUT = 4
"""Up to IR version 3 every initializer had to be an input too."""


def without_weights(model: "ModelProto") -> list[str]:
    """Takes inputs that have a value in the model off the list of inputs, in place; gives what was done.

    ONNX Runtime takes such a weight for one that a caller may replace, and leaves it out of its optimisation.
    """
    data = {value.name for value in data_inputs(model.graph)}
    weights = [value.name for value in model.graph.input if value.name not in data]
    if not weights:
        return []
    kept = list(data_inputs(model.graph))
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _FIRST_IR_WITHOUT)
    shown = ", ".join(weights[:_SHOWN]) + (f" and {len(weights) - _SHOWN} more" if len(weights) > _SHOWN else "")
    return [f"weights listed among the inputs are no features: {shown}"]


def refuse_weights(model: "ModelProto", *, source: str) -> None:
    """Raises UnsupportedModelError for an input that looks like a weight without a value.

    It looks like one by a first dimension that is fixed beside others that are dynamic, or by its name, where its
    first dimension is not that of the inputs of other names. A column may be called `weight` too.
    """
    inputs = data_inputs(model.graph)
    sized = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in inputs
        if value.type.tensor_type.HasField("shape")
    }
    batches = {sizes[0] for name, sizes in sized.items() if sizes and not _WEIGHT_NAME.search(name)}
    weights = [value for value in inputs if _is_weight(value.name, sized.get(value.name), batches)]
    if weights and len(weights) < len(inputs):
        shown = ", ".join(_shown(value) for value in weights[:_SHOWN])
        raise UnsupportedModelError(
            f"{source} wants {shown} as input, which {'look' if len(weights) > 1 else 'looks'} like a weight and not "
            "like a column: its first dimension is not the batch, and the model holds no value for it. The export is "
            "broken; export the model again with its weights inside (torch.onnx.export(..., export_params=True, "
            "keep_initializers_as_inputs=False))"
        )


def _is_weight(name: str, sizes: list[int] | None, batches: set[int]) -> bool:
    """`batches` are the first dimensions of the other inputs, 0 where that is dynamic."""
    if sizes is None or not batches or 0 in sizes:
        return False
    if _WEIGHT_NAME.search(name):
        return len(sizes) not in {1, 2} or (sizes[0] > 1 and sizes[0] not in batches)
    return 0 in batches and bool(sizes) and sizes[0] > 1


def _shown(value: "ValueInfoProto") -> str:
    sizes = ", ".join(str(size.dim_value or "?") for size in value.type.tensor_type.shape.dim)
    return f"{value.name!r} ({dtype_name(value.type.tensor_type.elem_type, tensor=value.name)}[{sizes}])"
