"""Every model in one form: rows in, rows out, a dynamic batch wherever that changes no answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import InvalidModelError, UnsupportedModelError
from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.models.batch_dependence import Cause, refuse_certain, structural_causes
from onnx_pipeline.models.fixed_batch import free_batch, free_quantised_batch
from onnx_pipeline.models.probe_rows import vocabulary
from onnx_pipeline.models.protobuf import data_inputs, dtype_name, feature_names, parse
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import TensorSignature
from onnx_pipeline.models.weight_inputs import refuse_weights, without_weights
from onnx_pipeline.models.zipmap import remove_zipmaps

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["Normalised", "normalise", "probe_widths"]

_KINDS = {
    "sequence_type": "a sequence",
    "map_type": "a map",
    "optional_type": "an optional",
    "sparse_tensor_type": "a sparse tensor",
}


@dataclass(frozen=True)
class Normalised:
    """The model that runs, and how it differs from the one that came."""

    model: "ModelProto"
    data: bytes
    """The same, serialised; the bytes as they came where nothing was changed."""
    inputs: tuple[TensorSignature, ...]
    feature_names: tuple[str, ...] | None
    """What the model's metadata says that the columns of an `[N, F]` input are, in order."""
    labels: dict[str, tuple[str, ...]]
    """Classes of the outputs that a ZipMap gave, in column order."""
    changes: tuple[str, ...]
    """What was done or found, as sentences."""
    fixed_batch: int | None
    """Rows that each call must have; None where any number goes."""
    causes: tuple[Cause, ...]
    """Nodes that make the answer for a row depend on more than the row, or may."""
    formless: tuple[tuple[str, str], ...] = ()
    """Outputs that have no form as columns and are gone, with why."""


def normalise(
    data: bytes,
    *,
    source: str = "the model",
    options: RuntimeOptions | None = None,
) -> Normalised:
    """Checks the inputs and outputs, removes ZipMap, and frees a fixed batch where that is proven to be safe.

    Raises InvalidModelError and UnsupportedModelError, naming the tensor or the node.
    """
    model = parse(data, source=source)
    labels, changes = remove_zipmaps(model)
    names, remarks = feature_names(model)
    kept_out = without_weights(model)
    changes.extend(kept_out)
    refuse_weights(model, source=source)
    inputs = [_input(value, source) for value in data_inputs(model.graph)]
    if not inputs:
        raise UnsupportedModelError(f"{source} has no inputs, so every row would get the same prediction")
    formless = _without_formless_outputs(model, source)
    batch = _batch(model, source)
    causes = structural_causes(model)
    refuse_certain(causes, batch, source=source)
    quantised = any(cause.kind == "quantises" for cause in causes)
    fixed: int | None = None
    touched = bool(labels or kept_out or formless)
    if batch == 1 and any(cause.kind in {"mixes", "quantises"} for cause in causes):
        fixed = batch  # no proof is wanted: with more rows the answers would be others
    elif batch is not None:
        widths = probe_widths(inputs, None if names is None else len(names))
        if widths is None:
            fixed = batch
            changes.append(f"the batch of {batch} stays fixed: an input of unknown width leaves nothing to prove it on")
        else:
            free = free_quantised_batch if quantised else free_batch
            model, fixed, sentence = free(
                model, inputs, widths, vocabulary(model), batch, options or RuntimeOptions(), source=source
            )
            touched |= fixed is None
            changes.append(sentence)
    changes.extend(remarks)
    changes.extend(f"left out: {why}" for _, why in formless)
    serialised = model.SerializeToString(deterministic=True) if touched else data
    return Normalised(model, serialised, tuple(inputs), names, labels, tuple(changes), fixed, causes, formless)


def probe_widths(inputs: Sequence[TensorSignature], feature_count: int | None) -> list[int] | None:
    """How wide each input is; None where that is unknown of one.

    `feature_count` is what a dynamic width really is, where the model's metadata names its columns.
    """
    dynamic = [tensor for tensor in inputs if tensor.width is None]
    if dynamic and (feature_count is None or len(dynamic) > 1):
        return None
    return [feature_count or 1 if tensor.width is None else tensor.width for tensor in inputs]


def _input(value: "ValueInfoProto", source: str) -> TensorSignature:
    dtype = _dtype(value, "input", source)
    shape = value.type.tensor_type.shape
    if not value.type.tensor_type.HasField("shape"):
        raise UnsupportedModelError(
            f"input {value.name!r} of {source} declares no shape, so it is not known how many columns it "
            "takes; export it as [batch, columns]"
        )
    if len(shape.dim) not in {1, 2}:
        raise _unsupported_rank(value, "input", source)
    sizes = [dimension.dim_value if dimension.dim_value > 0 else None for dimension in shape.dim]
    return TensorSignature(value.name, dtype, (None, *sizes[1:]))


def _without_formless_outputs(model: "ModelProto", source: str) -> tuple[tuple[str, str], ...]:
    """Takes out what has no form as columns, where something is left: whoever wants the rest can have it.

    Raises UnsupportedModelError where nothing is.
    """
    if not model.graph.output:
        return ()
    found = {value.name: why for value in model.graph.output if (why := _why_formless(value, source)) is not None}
    if len(found) == len(model.graph.output):
        raise UnsupportedModelError(next(iter(found.values())))
    left = [value for value in model.graph.output if value.name not in found]
    del model.graph.output[:]
    model.graph.output.extend(left)
    return tuple(found.items())


def _why_formless(value: "ValueInfoProto", source: str) -> str | None:
    try:
        _check_output(value, source)
    except UnsupportedModelError as error:
        return str(error)
    return None


def _check_output(value: "ValueInfoProto", source: str) -> None:
    _dtype(value, "output", source)
    if value.type.tensor_type.HasField("shape") and len(value.type.tensor_type.shape.dim) not in {1, 2}:
        raise _unsupported_rank(value, "output", source)


def _dtype(value: "ValueInfoProto", role: str, source: str) -> str:
    kind = value.type.WhichOneof("value")
    if kind is None:
        raise InvalidModelError(f"{role} {value.name!r} of {source} declares no type; export the model again")
    if kind != "tensor_type":
        raise UnsupportedModelError(
            f"{role} {value.name!r} of {source} is {_KINDS.get(kind, kind)}, which has no form as table "
            "columns; export the model with tensors of at most two dimensions"
        )
    dtype = dtype_name(value.type.tensor_type.elem_type, tensor=value.name)
    element_type(dtype, tensor=value.name)
    return dtype


def _unsupported_rank(value: "ValueInfoProto", role: str, source: str) -> UnsupportedModelError:
    sizes = [
        str(dimension.dim_value) if dimension.HasField("dim_value") else dimension.dim_param or "?"
        for dimension in value.type.tensor_type.shape.dim
    ]
    return UnsupportedModelError(
        f"{role} {value.name!r} of {source} has rank {len(sizes)} (shape [{', '.join(sizes)}]), and a table "
        "has rows and columns only; export the model with this tensor as [batch] or [batch, columns]"
    )


def _batch(model: "ModelProto", source: str) -> int | None:
    """The first dimension that the inputs fix; None where it is dynamic in all of them."""
    sizes = {
        value.name: value.type.tensor_type.shape.dim[0].dim_value
        for value in data_inputs(model.graph)
        if value.type.tensor_type.shape.dim[0].dim_value > 0
    }
    if len(set(sizes.values())) > 1:
        stated = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise UnsupportedModelError(
            f"the inputs of {source} take different numbers of rows ({stated}), so rows cannot be told "
            "apart; export them with one batch dimension"
        )
    return next(iter(sizes.values()), None)
