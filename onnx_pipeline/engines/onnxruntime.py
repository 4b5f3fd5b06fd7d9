"""ONNX Runtime in this process: the default engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from onnx_pipeline.engines.artifacts import NO_ARTIFACT, artifact_of
from onnx_pipeline.engines.base import Host, Reason, StreamEngine, Task
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.spec.engines.onnxruntime import OnnxRuntimeOptions

__all__ = ["OnnxRuntimeEngine"]


class OnnxRuntimeEngine(StreamEngine[OnnxRuntimeOptions]):
    """Scores with an ONNX Runtime session of this process, cached by the model's sha256."""

    def __init__(self, options: OnnxRuntimeOptions, task: Task, host: Host) -> None:
        super().__init__(options, task, host)
        self._model = artifact_of(options, task)
        # Batches are read and written by other threads meanwhile.
        self._runtime = replace(host.runtime, spins=False)

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if isinstance(model, OnnxModel):
            return ()
        return (NO_ARTIFACT,)

    def facts(self) -> Mapping[str, Any]:
        form = {} if self._model.form == "as it is" else {"model_runs": self._model.form}
        if not self._runtime.accelerators:
            return form
        from onnx_pipeline.models.accelerators.shown import shown

        return form | shown(self._model.sha256, self._model.operators, self._runtime)

    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        task = self.task
        return self._model.stream(batches, task.binding, task.outputs, nulls=task.nulls, options=self._runtime)
