"""Who computes predictions from features: one module or folder per engine, which the registry of `spec` names."""

import importlib
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.imports import imported
from onnx_pipeline.engines.base import Engine, Host, PoolEngine, Reason, StreamEngine, Task
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = [
    "Engine",
    "Host",
    "PoolEngine",
    "Reason",
    "StreamEngine",
    "Task",
    "described_model",
    "engine_of",
    "installed_engine",
    "open_engine",
    "open_stream",
]

_logger = logging.getLogger(__name__)


def engine_of(options: type[EngineOptions]) -> type[Engine[Any]]:
    """The engine that takes such options. Raises SpecError where a package that it needs is not installed."""
    try:
        # All of them, before any is used: a model that was described without what scores it would only fail later.
        for package in options.packages:
            importlib.import_module(package)
    except ImportError as error:
        kind = options.model_fields["kind"].default
        raise SpecError(
            f"the engine `{kind}` needs {' and '.join(options.packages)} ({error}); pip install '{options.extra}'"
        ) from error
    engine: type[Engine[Any]] = imported(options.engine)
    return engine


def installed_engine(options: type[EngineOptions]) -> type[Engine[Any]] | None:
    """The engine, to be asked about models and not to score: its packages are found and not imported. None without."""
    engine: type[Engine[Any]] | None = imported(options.engine) if all(map(_is_here, options.packages)) else None
    return engine


def _is_here(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of what it lies in
        return False


def open_engine(
    options: EngineOptions, task: Task, runtime: RuntimeOptions, say: Callable[[str], None] = _logger.warning
) -> Engine[Any]:
    """The engine of those options, ready for a task; `say` hears of what delays it.

    Raises SpecError where the engine needs what is not here.
    """
    return engine_of(type(options))(options, task, Host(runtime, say))


def open_stream(
    options: EngineOptions, task: Task, runtime: RuntimeOptions, say: Callable[[str], None] = _logger.warning
) -> StreamEngine[Any]:
    """The engine of those options, for rows at hand. Raises SpecError for one that scores rows only where they lie."""
    engine = open_engine(options, task, runtime, say)
    if not isinstance(engine, StreamEngine):
        engine.close()
        raise SpecError(f"the engine `{options.kind}` scores rows where they lie, and takes none from this process")
    return engine


def described_model(options: EngineOptions) -> PlannedModel:
    """What is known of a model that has no artifact here, by the engine that scores with it."""
    return engine_of(type(options)).described_model(options)
