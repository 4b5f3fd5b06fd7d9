"""The options of the engine `onnxruntime`: it has none, since how ONNX Runtime runs is the resource `onnx_runtime`."""

from typing import ClassVar, Literal

from pydantic import Field

from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["OnnxRuntimeOptions"]


class OnnxRuntimeOptions(EngineOptions):
    """ONNX Runtime in this process, the default. How it runs is the resource `onnx_runtime`."""

    kind: Literal["onnxruntime"] = Field("onnxruntime", description="ONNX Runtime in this process.")

    engine: ClassVar[str] = "onnx_pipeline.engines.onnxruntime:OnnxRuntimeEngine"
