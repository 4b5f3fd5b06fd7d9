"""What one row takes in memory between a model's operators: it decides how many rows one call may take.

All tensors of the graph are made outputs, and two runs of few rows tell how each grows by the row. A tensor is
held from the operator that makes it to the last that reads it, which is what ONNX Runtime's planner does too:
https://onnxruntime.ai/docs/performance/tune-performance/memory.html
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.base.errors import DataError, ModelError, OutOfMemoryError
from onnx_pipeline.models import runtime
from onnx_pipeline.models.probe_rows import Vocabulary, probe_rows
from onnx_pipeline.models.providers import CPU
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["row_bytes"]

_FEWER, _MORE = 3, 5
_STRING = 32
"""sizeof(std::string): text of up to 15 bytes lies inside it."""


def row_bytes(
    model: "ModelProto", inputs: Sequence[TensorSignature], widths: Sequence[int], words: Vocabulary
) -> int | None:
    """Bytes by the row where the graph is widest; None where that cannot be told, since it takes no made-up rows."""
    exposed = _all_exposed(model)
    options = RuntimeOptions(providers=(CPU,), intra_op_threads=1, graph_optimization="disabled")
    measured: list[dict[str, int]] = []
    try:
        session = runtime.open_session(exposed.SerializeToString(), options, quiet=True)
        names = [output.name for output in session.get_outputs()]
        for rows in (_FEWER, _MORE):
            feeds = probe_rows(inputs, widths, words, rows, wildness=0, seed=rows)
            answers = runtime.run(session, names, feeds)
            sizes = {name: _size(answer) for name, answer in zip(names, answers, strict=True)}
            measured.append(sizes | {name: _size(tensor) for name, tensor in feeds.items()})
    except (DataError, ModelError, OutOfMemoryError):
        return None
    fewer, more = measured
    grows = {name: max(0, more[name] - fewer[name]) / (_MORE - _FEWER) for name in more}
    return round(_widest(model.graph, grows))


def _all_exposed(model: "ModelProto") -> "ModelProto":
    changed = type(model)()
    changed.CopyFrom(model)
    standing = {value.name for value in changed.graph.output}
    for node in changed.graph.node:
        for name in node.output:
            if name and name not in standing:
                changed.graph.output.add().name = name  # ONNX Runtime infers its type
    return changed


def _size(answer: Any) -> int:
    """Bytes of a tensor; of a sequence or map, which few graphs make, those of its parts."""
    if isinstance(answer, np.ndarray):
        return answer.size * _STRING if answer.dtype == object else answer.nbytes
    if isinstance(answer, Mapping):
        return len(answer) * _STRING
    if isinstance(answer, (list, tuple)):
        return sum(_size(part) for part in answer)
    return 8


def _widest(graph: "GraphProto", grows: Mapping[str, float]) -> float:
    """The most that is held at once, from the first operator to the last."""
    last = {name: len(graph.node) for name in (value.name for value in graph.output)}
    for index, node in enumerate(graph.node):
        for name in _read(node):
            last[name] = max(last.get(name, index), index)
    held = sum(grows.get(value.name, 0.0) for value in graph.input)
    widest = held
    ends: dict[int, float] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            held += grows.get(name, 0.0)
            end = last.get(name, index)
            ends[end] = ends.get(end, 0.0) + grows.get(name, 0.0)
        widest = max(widest, held)
        held -= ends.pop(index, 0.0)
    return widest


def _read(node: Any) -> list[str]:
    """What a node reads, its bodies included: those may name tensors of the graph around them."""
    names = list(node.input)
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in body.node:
                names.extend(_read(inner))
    return names
