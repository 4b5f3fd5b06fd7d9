"""Everything that is found out about a model once, when it is first seen."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.base.rules import is_float
from onnx_pipeline.models.batch_dependence import Examined, examine
from onnx_pipeline.models.categorical_splits import check_categorical_splits
from onnx_pipeline.models.facts import FACTS_FORMAT
from onnx_pipeline.models.labels import class_labels
from onnx_pipeline.models.missing_values import label_columns, untracked_columns
from onnx_pipeline.models.normalise import Normalised, normalise, probe_widths
from onnx_pipeline.models.probe_rows import vocabulary
from onnx_pipeline.models.read_columns import read_columns
from onnx_pipeline.models.row_memory import row_bytes
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import OutputSignature, Signature

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["inspect"]


def inspect(data: bytes, *, source: str, options: RuntimeOptions) -> tuple[bytes, dict[str, Any]]:
    """The normalised model, and the facts that `OnnxModel.from_description` takes.

    Whatever a model does to a process that loads it happens here, which is why a process of its own does this first
    (`first_look`). Raises InvalidModelError, UnsupportedModelError, RuntimeUnavailableError or OutOfMemoryError.
    """
    normal = normalise(data, source=source, options=options)
    remarks = check_categorical_splits(normal.model, source=source)
    names = normal.feature_names
    count = None if names is None else len(names)
    sha256 = hashlib.sha256(data).hexdigest()
    examined = examine(
        normal.model,
        normal.data,
        normal.inputs,
        probe_widths(normal.inputs, count),
        vocabulary(normal.model),
        normal.causes,
        normal.fixed_batch,
        options,
        source=source,
    )
    signature = Signature(normal.inputs, _outputs(normal, examined, source), normal.formless)
    widths = {tensor.name: tensor.width for tensor in normal.inputs}
    facts = {
        "format": FACTS_FORMAT,
        "sha256": sha256,
        "size": len(data),
        "opset": {
            "" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in normal.model.opset_import
        },
        "producer": _producer(normal.model),
        "signature": signature.to_json(),
        "feature_names": None if names is None else list(names),
        "changes": [*normal.changes, *remarks, *examined.verdict.remarks],
        "unsafe_nulls": [list(place) for place in sorted(untracked_columns(normal.model, widths))],
        "label_nulls": [
            list(place)
            for place in sorted(
                label_columns(
                    normal.model,
                    widths,
                    [tensor.name for tensor in signature.inputs if is_float(tensor.dtype)],
                    [output.name for output in signature.outputs if not is_float(output.dtype)],
                )
            )
        ],
        "read_columns": read_columns(
            normal.model.graph, {tensor.name: (tensor.dtype, tensor.width) for tensor in normal.inputs}
        ),
        "operators": _operators(normal, examined),
        "fixed_batch": examined.fixed_batch,
        "form": examined.verdict.form,
        "row_bytes": _row_bytes(normal, examined, count),
        "onnxruntime": ort.__version__,
        "normalised_sha256": hashlib.sha256(examined.data).hexdigest(),
    }
    return examined.data, facts


def _operators(normal: Normalised, examined: Examined) -> list[str]:
    """The operators of the model that runs, on the way from its inputs to its outputs: `ai.onnx.ml.Scaler`, `Add`."""
    import onnx

    same = examined.data is normal.data
    graph = normal.model.graph if same else onnx.load_model_from_string(examined.data).graph
    moving = {tensor.name for tensor in normal.inputs}
    found = set()
    for node in graph.node:
        if moving & set(node.input) or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            moving |= set(node.output)
            found.add(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")
    return sorted(found)


def _producer(model: "ModelProto") -> str:
    """Name and version; CatBoost's version is a page about its build, of which nothing is shown."""
    version = model.producer_version
    return (model.producer_name if "\n" in version.strip() else f"{model.producer_name} {version}").strip()


def _row_bytes(normal: Normalised, examined: Examined, feature_count: int | None) -> int | None:
    """None, too, where a call has a number of rows of its own, or takes them one by one."""
    widths = probe_widths(normal.inputs, feature_count)
    if widths is None or examined.fixed_batch is not None or examined.verdict.form == "one row at a time":
        return None
    return row_bytes(normal.model, normal.inputs, widths, vocabulary(normal.model))


def _outputs(normal: Normalised, examined: Examined, source: str) -> tuple[OutputSignature, ...]:
    """Shapes are those that outputs really had: what exporters declare is often open and sometimes wrong."""
    outputs = []
    for output in examined.session.get_outputs():
        dtype = output.type.removeprefix("tensor(").removesuffix(")")
        kind = element_type(dtype, tensor=output.name)
        declared: Sequence[Any] = output.shape
        probed = examined.shapes
        shape = list(probed[output.name]) if probed is not None else [None, *declared[1:]]
        width = 1 if len(shape) == 1 else shape[1] if isinstance(shape[1], int) and shape[1] > 0 else None
        labels = normal.labels.get(output.name) or None
        if labels is None and width != 1 and kind.kind == "f":
            labels = class_labels(normal.model.graph, output.name, width)
        if labels is not None and width is None:
            width = len(labels)
        if labels is not None and width != len(labels):
            raise UnsupportedModelError(
                f"output {output.name!r} of {source} has {width} columns for {len(labels)} classes "
                f"({', '.join(labels)}), so its columns cannot be named; export the model again"
            )
        sizes: tuple[int | None, ...] = (None,) if len(shape) == 1 else (None, width)
        outputs.append(OutputSignature(output.name, dtype, sizes, labels))
    return tuple(outputs)
