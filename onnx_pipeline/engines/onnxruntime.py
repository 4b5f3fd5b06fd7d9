"""ONNX Runtime in this process: the default engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from onnx_pipeline.engines.base import Engine
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["OnnxRuntimeEngine"]


class OnnxRuntimeEngine(Engine):
    """Scores with an ONNX Runtime session of this process, cached by the model's sha256."""

    kind = "onnxruntime"

    def __init__(self, model: OnnxModel, options: RuntimeOptions) -> None:
        self._model = model
        self._options = options

    def score(
        self,
        binding: Binding,
        outputs: Sequence[OutputColumn],
        nulls: Mapping[str, Any],
        batches: Iterable[pa.RecordBatch],
    ) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        scorer = self._model.scorer(binding, outputs, nulls=nulls, options=self._options)
        for batch in batches:
            yield batch, scorer(batch)
