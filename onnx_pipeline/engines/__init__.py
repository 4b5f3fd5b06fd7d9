"""Who computes predictions from features: one module per engine."""

import importlib
import logging
from collections.abc import Callable

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines.base import Engine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.spec.engines.remote import EngineSpec

__all__ = ["Engine", "describe_remote", "open_engine"]


_logger = logging.getLogger(__name__)


def open_engine(
    spec: EngineSpec,
    model: PlannedModel,
    options: RuntimeOptions,
    say: Callable[[str], None] = _logger.warning,
) -> Engine:
    """The engine that a spec names, ready to score with `model`; `say` hears of what delays it.

    Raises SpecError where the engine needs what is not here.
    """
    # The spec has checked `kind` already; each further engine adds its branch and its part of the spec.
    if spec.kind == "remote":
        _require_extra()
        from onnx_pipeline.engines.remote.engine import RemoteEngine

        return RemoteEngine(spec, model, say)
    if not isinstance(model, OnnxModel):
        raise SpecError(f"the engine `{spec.kind}` needs the model's artifact: name it as `onnx`")
    if spec.kind == "onnxruntime":
        from onnx_pipeline.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model, options)
    raise AssertionError(spec.kind)


def describe_remote(spec: EngineSpec) -> RemoteModel:
    """What is known of a model that has no artifact here; raises as `remote.discovery.remote_model` does.

    Raises SpecError where the extra `remote` is not installed.
    """
    _require_extra()
    from onnx_pipeline.engines.remote.discovery import remote_model

    return remote_model(spec)


def _require_extra() -> None:
    """All of it, before any is used: a model that was described without what scores it would only fail later."""
    try:
        for package in ("httpcore", "orjson"):
            importlib.import_module(package)
    except ImportError as error:
        raise SpecError(
            f"the engine `remote` needs httpcore and orjson ({error}); pip install 'onnx-pipeline[remote]'"
        ) from error
