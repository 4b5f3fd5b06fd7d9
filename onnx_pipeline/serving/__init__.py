"""The scoring service: an ASGI app over the same models and stores as the pipeline.

`onnx-pipeline serve --models DIR` runs it under uvicorn; `deploy/` holds it as an Azure Function, as an Azure ML
online deployment and as a container.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_pipeline.serving.app import create_app
    from onnx_pipeline.serving.catalogue import Catalogue
    from onnx_pipeline.serving.settings import ServingSettings

__all__ = ["Catalogue", "ServingSettings", "create_app"]

_HOMES = {"Catalogue": "catalogue", "ServingSettings": "settings", "create_app": "app"}


def __getattr__(name: str) -> Any:
    """Imports on first use, as `onnx_pipeline.models` does."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
