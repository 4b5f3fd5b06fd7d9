"""What engines say that run a model's own bytes: to a model that has none here, and instead of themselves."""

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines.base import Reason, Task
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["NEAREST", "NO_ARTIFACT", "artifact_of"]

NO_ARTIFACT = Reason("its artifact is not here", "name it as `onnx`")
NEAREST = "score it with `engine: {kind: onnxruntime}`, which runs every ONNX model"
"""What an engine of the pool advises where it cannot run a model."""


def artifact_of(options: EngineOptions, task: Task) -> OnnxModel:
    """The task's model, which the engine of these options runs. Raises SpecError where its bytes are not here."""
    if not isinstance(task.model, OnnxModel):
        raise SpecError(f"the engine `{options.kind}` needs the model's artifact: name it as `onnx`")
    return task.model
