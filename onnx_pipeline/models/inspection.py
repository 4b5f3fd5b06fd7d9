"""Everything that is found out about a model once, when it is first seen."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from onnx_pipeline.base.errors import DataError, UnsupportedModelError
from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.models import runtime
from onnx_pipeline.models.facts import FACTS_FORMAT
from onnx_pipeline.models.labels import class_labels
from onnx_pipeline.models.missing_values import untracked_columns
from onnx_pipeline.models.normalise import Normalised, normalise, probe_widths
from onnx_pipeline.models.probe_rows import probe_rows, vocabulary
from onnx_pipeline.models.row_memory import row_bytes
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import OutputSignature, Signature

__all__ = ["inspect"]

_PROBE_SIZES = (3, 5)
"""Two sizes: an output with three rows for three and for five holds no row per input row."""


def inspect(data: bytes, *, source: str, options: RuntimeOptions) -> tuple[bytes, dict[str, Any]]:
    """The normalised model, and the facts that `OnnxModel.from_description` takes.

    Whatever a model does to a process that loads it happens here, which is why a process of its own does this first
    (`first_look`). Raises InvalidModelError, UnsupportedModelError, RuntimeUnavailableError or OutOfMemoryError.
    """
    normal = normalise(data, source=source, options=options)
    names = normal.feature_names
    count = None if names is None else len(names)
    sha256 = hashlib.sha256(data).hexdigest()
    session = runtime.open_session(normal.data, options, source=source, quiet=True)
    signature = Signature(normal.inputs, _outputs(normal, session, count, source))
    facts = {
        "format": FACTS_FORMAT,
        "sha256": sha256,
        "size": len(data),
        "opset": {
            "" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in normal.model.opset_import
        },
        "producer": f"{normal.model.producer_name} {normal.model.producer_version}".strip(),
        "signature": signature.to_json(),
        "feature_names": None if names is None else list(names),
        "changes": list(normal.changes),
        "unsafe_nulls": [
            list(place)
            for place in sorted(
                untracked_columns(normal.model, {tensor.name: tensor.width for tensor in normal.inputs})
            )
        ],
        "fixed_batch": normal.fixed_batch,
        "row_bytes": _row_bytes(normal, count),
        "onnxruntime": ort.__version__,
        "normalised_sha256": hashlib.sha256(normal.data).hexdigest(),
    }
    return normal.data, facts


def _row_bytes(normal: Normalised, feature_count: int | None) -> int | None:
    widths = probe_widths(normal.inputs, feature_count)
    if widths is None or normal.fixed_batch is not None:
        return None
    return row_bytes(normal.model, normal.inputs, widths, vocabulary(normal.model))


def _outputs(
    normal: Normalised, session: ort.InferenceSession, feature_count: int | None, source: str
) -> tuple[OutputSignature, ...]:
    probed = _probed_shapes(normal, session, feature_count, source)
    outputs = []
    for output in session.get_outputs():
        dtype = output.type.removeprefix("tensor(").removesuffix(")")
        kind = element_type(dtype, tensor=output.name)
        declared: Sequence[Any] = output.shape
        shape = probed[output.name] if probed is not None else [None, *declared[1:]]
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


def _probed_shapes(
    normal: Normalised, session: ort.InferenceSession, feature_count: int | None, source: str
) -> dict[str, list[int]] | None:
    """The shapes that outputs really have: what exporters declare is often open and sometimes wrong.

    None where no made-up rows could be run: an input of unknown width, or a model that refuses them.
    """
    widths = probe_widths(normal.inputs, feature_count)
    if widths is None:
        return None
    words = vocabulary(normal.model)
    names = [output.name for output in session.get_outputs()]
    shapes: dict[str, list[int]] = {}
    for rows in [normal.fixed_batch] if normal.fixed_batch else _PROBE_SIZES:
        feeds = probe_rows(normal.inputs, widths, words, rows, wildness=0, seed=rows)
        try:
            answers = runtime.run(session, names, feeds)
        except DataError:
            return None  # the declared shapes have to do; what is wrong with them shows when rows are scored
        for name, answer in zip(names, answers, strict=True):
            shape = list(np.shape(answer))
            if len(shape) not in {1, 2} or shape[0] != rows:
                raise UnsupportedModelError(
                    f"output {name!r} of {source} has the shape {shape} for {rows} rows, so its values "
                    "belong to no row; export the model without it, or with one row per input row"
                )
            shapes[name] = shape
    return shapes
