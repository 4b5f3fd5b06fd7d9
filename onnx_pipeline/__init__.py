"""Score warehouse tables with ONNX models: incremental, idempotent and observable, as Dagster assets.

`OnnxModel` is the part for notebooks; `OnnxScoring` is the Dagster component.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_pipeline.component import OnnxScoring
    from onnx_pipeline.models.onnx_model import OnnxModel
    from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["OnnxModel", "OnnxScoring", "RuntimeOptions"]

_MODULES = {
    "OnnxModel": "onnx_pipeline.models.onnx_model",
    "OnnxScoring": "onnx_pipeline.component",
    "RuntimeOptions": "onnx_pipeline.models.runtime",
}


def __getattr__(name: str) -> Any:
    # Late, so that a notebook does not pay for Dagster, nor a command for ONNX Runtime.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
