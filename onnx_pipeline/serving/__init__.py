"""The scoring service: an ASGI app over the same models and stores as the pipeline.

`onnx-pipeline serve --models DIR` runs it under uvicorn; `deploy/` holds it as an Azure Function, as an Azure ML
online deployment and as a container.
"""

from typing import TYPE_CHECKING

from onnx_pipeline.base.imports import on_first_use

if TYPE_CHECKING:
    from onnx_pipeline.serving.app import create_app
    from onnx_pipeline.serving.catalogue import Catalogue
    from onnx_pipeline.serving.settings import ServingSettings

__all__ = ["Catalogue", "ServingSettings", "create_app"]

_MODULES = {
    "Catalogue": "onnx_pipeline.serving.catalogue",
    "ServingSettings": "onnx_pipeline.serving.settings",
    "create_app": "onnx_pipeline.serving.app",
}

# Late, as in `onnx_pipeline.models`.
__getattr__ = on_first_use(__name__, _MODULES)
