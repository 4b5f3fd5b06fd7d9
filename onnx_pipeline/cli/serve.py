"""`onnx-pipeline serve`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx_pipeline.base.errors import SpecError

__all__ = ["serve_models"]


def serve_models(
    models: Sequence[str],
    *,
    features: Sequence[str],
    host: str,
    port: int,
    keys_file: Path | None,
    access_log: bool,
    **numbers: Any,
) -> None:
    """Serve until the process is told to stop. What a number is not given for, the environment or a default says."""
    try:
        from onnx_pipeline.serving.auth import read_keys_file
        from onnx_pipeline.serving.column_names import parse_features
        from onnx_pipeline.serving.server import serve
        from onnx_pipeline.serving.settings import ServingSettings
    except ModuleNotFoundError as error:
        raise SpecError(f"serving needs the package {error.name}; pip install 'onnx-pipeline[serving]'") from error
    settings = ServingSettings.from_environment()
    given = {name: value for name, value in numbers.items() if value is not None}
    settings = replace(settings, models=tuple(models) or settings.models, access_log=access_log, **given)
    if features:
        settings = replace(settings, features=parse_features(features))
    if keys_file is not None:
        settings = replace(settings, keys=settings.keys | read_keys_file(keys_file))
    serve(settings, host, port)
