"""Who computes predictions from features: one module per engine."""

from onnx_pipeline.engines.base import Engine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.spec import EngineSpec

__all__ = ["Engine", "open_engine"]


def open_engine(spec: EngineSpec, model: OnnxModel, options: RuntimeOptions) -> Engine:
    """The engine that a spec names, ready to score with `model`."""
    # The spec has checked `kind` already; each further engine adds its branch and its part of the spec.
    if spec.kind == "onnxruntime":
        from onnx_pipeline.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, options)
    raise AssertionError(spec.kind)
