"""Score warehouse tables with ONNX models: incremental, idempotent and observable, as Dagster assets.

`OnnxModel` is the part for notebooks; `OnnxScoring` is the Dagster component, and `load_from_defs_folder` loads a
project of which one file cannot be read.
"""

from typing import TYPE_CHECKING

from onnx_pipeline.base.imports import on_first_use

if TYPE_CHECKING:
    from onnx_pipeline.component import OnnxScoring
    from onnx_pipeline.models.onnx_model import OnnxModel
    from onnx_pipeline.models.runtime import RuntimeOptions
    from onnx_pipeline.orchestration.readable import load_from_defs_folder

__all__ = ["OnnxModel", "OnnxScoring", "RuntimeOptions", "load_from_defs_folder"]

_MODULES = {
    "OnnxModel": "onnx_pipeline.models.onnx_model",
    "OnnxScoring": "onnx_pipeline.component",
    "RuntimeOptions": "onnx_pipeline.models.runtime",
    "load_from_defs_folder": "onnx_pipeline.orchestration.readable",
}

# Late, so that a notebook does not pay for Dagster, nor a command for ONNX Runtime.
__getattr__ = on_first_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
