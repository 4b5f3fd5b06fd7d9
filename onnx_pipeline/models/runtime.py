"""ONNX Runtime sessions: options, one cache per process, and what its errors mean here."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnx_pipeline.base.errors import DataError, InvalidModelError, RuntimeUnavailableError, UnsupportedModelError
from onnx_pipeline.models.runtime_versions import check_version

__all__ = ["RuntimeOptions", "keep", "open_session", "run", "run_rows", "session"]

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(ort_errors).values() if isinstance(error, type) and issubclass(error, Exception)
)
"""ONNX Runtime's exceptions share no base class of their own."""

_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3
_CACHED_SESSIONS = 8


@dataclass(frozen=True)
class RuntimeOptions:
    """How ONNX Runtime runs a model."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """Execution providers, the preferred one first."""
    intra_op_threads: int = 0
    """Threads inside one operator; 0 lets ONNX Runtime take one per physical core."""
    inter_op_threads: int = 1
    """Operators at the same time; scoring graphs are chains, so more than 1 gains nothing."""
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    """How far ONNX Runtime rewrites the graph."""
    batch_rows: int = 65_536
    """Rows in one call of ONNX Runtime at most.

    1M x 28 rows through a depth-8 tree took 0.11 s in calls of 4,096 rows and 0.07 s in calls of 16,384 to
    131,072: a matrix of 7 MB is large enough to keep the threads busy and small enough to keep memory flat.
    """


_lock = threading.Lock()
_sessions: OrderedDict[tuple[str, RuntimeOptions], ort.InferenceSession] = OrderedDict()


def session(model: bytes, sha256: str, options: RuntimeOptions, *, source: str = "the model") -> ort.InferenceSession:
    """The session of a model, made once per process for each pair of sha256 and options.

    Raises RuntimeUnavailableError, InvalidModelError or UnsupportedModelError, as `open_session` does.
    """
    key = (sha256, options)
    # Making a session under the lock: two threads that ask for the same model must not both load it.
    with _lock:
        if key not in _sessions:
            _sessions[key] = open_session(model, options, source=source)
            while len(_sessions) > _CACHED_SESSIONS:
                _sessions.popitem(last=False)
        _sessions.move_to_end(key)
        return _sessions[key]


def keep(made: ort.InferenceSession, sha256: str, options: RuntimeOptions) -> None:
    """Puts a session that was made already where `session` finds it."""
    with _lock:
        _sessions[sha256, options] = made
        _sessions.move_to_end((sha256, options))
        while len(_sessions) > _CACHED_SESSIONS:
            _sessions.popitem(last=False)


def open_session(model: bytes, options: RuntimeOptions, *, source: str = "the model") -> ort.InferenceSession:
    """A new session, which nothing caches.

    Raises RuntimeUnavailableError for a release of ONNX Runtime that answers wrongly and for an execution
    provider that is not here, InvalidModelError for a model that ONNX Runtime refuses, UnsupportedModelError for
    one that needs an operator or opset it does not have.
    """
    check_version(ort.__version__, where="the installed runtime")
    available = ort.get_available_providers()
    for provider in options.providers:
        if provider not in available:
            raise RuntimeUnavailableError(
                f"this ONNX Runtime has no {provider}; it has {', '.join(available)}. Name one of these in "
                f"`providers`, or install the ONNX Runtime package that brings {provider}"
            )
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    settings.intra_op_num_threads = options.intra_op_threads
    settings.inter_op_num_threads = options.inter_op_threads
    settings.graph_optimization_level = _LEVELS[options.graph_optimization]
    try:
        made = ort.InferenceSession(model, settings, providers=list(options.providers))
    except ort_errors.NotImplemented as error:
        raise UnsupportedModelError(
            f"ONNX Runtime {ort.__version__} cannot run {source}: {error}. Upgrade ONNX Runtime, or export "
            "the model to an opset and dtypes that it has"
        ) from error
    except ORT_ERRORS as error:
        raise InvalidModelError(
            f"ONNX Runtime {ort.__version__} refuses {source}: {error}. Export the model again, or upgrade "
            "ONNX Runtime if the message speaks of a newer opset or IR version"
        ) from error
    missing = [provider for provider in options.providers if provider not in made.get_providers()]
    if missing:
        # ONNX Runtime would go on with the CPU and say so in a warning that nobody reads.
        raise RuntimeUnavailableError(
            f"{missing[0]} is installed but did not start, so the model would run on "
            f"{', '.join(made.get_providers())}; check its driver and libraries, or name those in `providers`"
        )
    return made


def run(
    model: ort.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    options: ort.RunOptions | None = None,
) -> list[Any]:
    """Runs the model on packed rows; gives the named outputs.

    Raises DataError where an operator refuses the rows (an unknown category, an index out of range).
    """
    try:
        answers: list[Any] = model.run(outputs, feeds, options)
    except ORT_ERRORS as error:
        raise DataError(
            f"the model refuses these rows: {error}. A value lies outside what the model was trained on or "
            "can index; filter or repair such rows in the source query"
        ) from error
    return answers


def run_rows(
    model: ort.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    rows: int,
    *,
    fixed_batch: int | None,
    options: ort.RunOptions | None = None,
) -> list[Any]:
    """`run` on at most `fixed_batch` rows, where the graph takes so many and no fewer: the last row is repeated."""
    if fixed_batch is None:
        return run(model, outputs, feeds, options)
    if rows < fixed_batch:
        feeds = {name: _padded(tensor, fixed_batch) for name, tensor in feeds.items()}
    return [answer[:rows] for answer in run(model, outputs, feeds, options)]


def _padded(tensor: np.ndarray[Any, Any], rows: int) -> np.ndarray[Any, Any]:
    """The tensor with its last row repeated: the model takes that, where it may refuse zeros or blanks."""
    return np.concatenate([tensor, np.repeat(tensor[-1:], rows - len(tensor), axis=0)])
