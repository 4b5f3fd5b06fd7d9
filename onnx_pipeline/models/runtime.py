"""ONNX Runtime sessions: options, one cache per process, and what its errors mean here."""

import contextlib
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Literal, cast

import numpy as np
import onnxruntime as ort

from onnx_pipeline.base.errors import RuntimeUnavailableError, SpecError
from onnx_pipeline.models import limits
from onnx_pipeline.models.providers import CPU, Provider, ProviderChoice, as_providers, default_providers
from onnx_pipeline.models.runtime_errors import ORT_ERRORS, PROVIDER_ERRORS, at_load, at_run, of_provider_options
from onnx_pipeline.models.runtime_versions import check_version

__all__ = ["RuntimeOptions", "check_providers", "open_session", "run", "run_rows", "session"]

_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3
_NOTHING = 4
"""What ends a process still shows. What a probe is refused is an exception, and its text would stand there twice."""
_CACHED_SESSIONS = 8
_NEED_CUDA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RuntimeOptions:
    """How ONNX Runtime runs a model."""

    providers: Sequence[ProviderChoice] = field(default_factory=default_providers)
    """Execution providers, the preferred one first: names, or names with options,
    `{"CUDAExecutionProvider": {"device_id": 1, "gpu_mem_limit": "8GB"}}`. Reduced precision is off unless an option
    asks for it. By default what ONNX_PIPELINE_PROVIDERS says, else the CPU's."""
    provider_tolerance: float = 1e-5
    """Largest relative difference between a provider's answers and the CPU's; a model that misses it is refused, or
    named where reduced precision was asked for."""
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
    call_memory: int = field(default_factory=limits.call_memory, compare=False)
    """Bytes that the tensors between a model's operators may take in one call: a call gets fewer rows than
    `batch_rows` where a model makes much of a row (the distances of a nearest-neighbour model, say)."""
    look_seconds: float = field(default_factory=limits.look_seconds, compare=False)
    """Seconds that loading and trying a model may take when it is seen for the first time."""
    look_memory: int = field(default_factory=limits.look_memory, compare=False)
    """Bytes of memory that it may take then."""
    spins: bool = True
    """Whether threads within an operator wait for the next one by spinning, which wins some microseconds a call.

    It takes cores from what runs beside the model, so a scoring, which reads and writes meanwhile, does without: 1M
    rows through a logistic regression on two cores took 0.7 s of CPU time, and 1.05 with it."""
    trust_models: bool = field(default_factory=limits.trust, compare=False)
    """Whether models are loaded unseen: what then ends in an abort ends this process."""

    def __post_init__(self) -> None:
        """Raises SpecError for providers and a tolerance that are none."""
        object.__setattr__(self, "providers", as_providers(self.providers))
        if not 0 < self.provider_tolerance < float("inf"):
            raise SpecError(f"provider_tolerance is {self.provider_tolerance!r}; write a number such as 1e-5")

    @property
    def chosen(self) -> tuple[Provider, ...]:
        """The providers, each with its options."""
        return tuple(Provider(each) if isinstance(each, str) else cast("Provider", each) for each in self.providers)

    @property
    def accelerators(self) -> tuple[Provider, ...]:
        """The providers but the CPU's."""
        return tuple(provider for provider in self.chosen if not provider.is_cpu)

    @property
    def reduced_precision(self) -> tuple[str, ...]:
        """What makes answers less exact, as was asked for: `CUDAExecutionProvider use_tf32=1`."""
        return tuple(f"{provider.name} {option}" for provider in self.chosen for option in provider.reduced)

    def on_cpu(self) -> "RuntimeOptions":
        """The same with the CPU's provider alone."""
        return replace(self, providers=(CPU,)) if self.accelerators else self


_lock = threading.Lock()
_sessions: OrderedDict[tuple[str, RuntimeOptions, bool], ort.InferenceSession] = OrderedDict()


def session(
    model: bytes, sha256: str, options: RuntimeOptions, *, source: str = "the model", wide: bool = False
) -> ort.InferenceSession:
    """The session of a model, made once per process for each pair of sha256 and options. `wide` as in `open_session`.

    Raises RuntimeUnavailableError, InvalidModelError or UnsupportedModelError, as `open_session` does.
    """
    key = (sha256, options, wide)
    # Making a session under the lock: two threads that ask for the same model must not both load it.
    with _lock:
        if key not in _sessions:
            _sessions[key] = open_session(model, options, source=source, wide=wide)
            while len(_sessions) > _CACHED_SESSIONS:
                _sessions.popitem(last=False)
        _sessions.move_to_end(key)
        return _sessions[key]


def check_providers(options: RuntimeOptions) -> None:
    """Raises RuntimeUnavailableError for an execution provider that is not here."""
    available = ort.get_available_providers()
    for name in (provider.name for provider in options.chosen):
        if name not in available:
            raise RuntimeUnavailableError(
                f"this ONNX Runtime has no {name}; it has {', '.join(available)}. Name one of these in "
                f"`providers`, or {_how_to_install(name)}"
            )


def _how_to_install(name: str) -> str:
    if name not in _NEED_CUDA:
        return f"install the ONNX Runtime package that brings {name}"
    if _is_installed("onnxruntime-gpu"):
        return (
            "put onnxruntime-gpu in order, which is installed, with the files of onnxruntime on top: pip uninstall "
            "--yes onnxruntime, then pip install --force-reinstall --no-deps onnxruntime-gpu"
        )
    return "install onnxruntime-gpu in the place of onnxruntime: pip install 'onnx-pipeline[gpu]', as docs/gpu.md says"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def open_session(
    model: bytes, options: RuntimeOptions, *, source: str = "the model", quiet: bool = False, wide: bool = False
) -> ort.InferenceSession:
    """A new session, which nothing caches; a quiet one prints nothing of what it also raises.

    For a `wide` model, whose calls fill the memory that they may take, ONNX Runtime does not plan memory ahead: the
    block that it plans from the second call on lies beside what the first one took, which it keeps. Neighbours over
    20,000 rows took 2.2 GB so, where one call holds 1.1.

    Raises RuntimeUnavailableError for a release of ONNX Runtime that answers wrongly, and for an execution provider or
    a locale that is not here, InvalidModelError for a
    model that ONNX Runtime refuses, UnsupportedModelError for one that needs an operator or opset it does not have,
    OutOfMemoryError for one that memory does not hold.
    """
    check_version(ort.__version__, where="the installed runtime")
    check_providers(options)
    settings = ort.SessionOptions()
    settings.log_severity_level = _NOTHING if quiet else _ERRORS_ONLY
    settings.intra_op_num_threads = options.intra_op_threads
    settings.inter_op_num_threads = options.inter_op_threads
    settings.enable_mem_pattern = not wide
    if not options.spins:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.graph_optimization_level = _LEVELS[options.graph_optimization]
    _find_libraries(options)
    try:
        # Without the fallback, which would print that a provider failed and go on with the CPU, at a later call, too.
        made = ort.InferenceSession(
            model,
            settings,
            providers=[(provider.name, provider.settings) for provider in options.chosen],
            enable_fallback=0,
        )
    except PROVIDER_ERRORS as error:
        raise of_provider_options(error, options.accelerators) or at_load(error, source) from error
    missing = [provider.name for provider in options.chosen if provider.name not in made.get_providers()]
    if missing:
        # ONNX Runtime would go on with the CPU and say so in a warning that nobody reads.
        raise RuntimeUnavailableError(
            f"{missing[0]} is installed but did not start, so the model would run on "
            f"{', '.join(made.get_providers())}; check its driver and libraries, or name those in `providers`"
        )
    return made


def _find_libraries(options: RuntimeOptions) -> None:
    """Loads the libraries of CUDA and cuDNN from PyPI's nvidia packages, which no search path of the system knows."""
    if any(provider.name in _NEED_CUDA for provider in options.accelerators) and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()) as said:  # it prints what it does not find
            ort.preload_dlls()
        if text := said.getvalue().strip():
            _logger.info("ONNX Runtime on the libraries of CUDA: %s", text)


def run(
    model: ort.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    options: ort.RunOptions | None = None,
) -> list[Any]:
    """Runs the model on packed rows; gives the named outputs.

    Raises DataError where an operator refuses the rows (an unknown category, an index out of range),
    OutOfMemoryError where no memory is left for them.
    """
    if options is None:
        options = ort.RunOptions()
    options.log_severity_level = _NOTHING  # all of it is in the exception
    try:
        answers: list[Any] = model.run(outputs, feeds, options)
    except ORT_ERRORS as error:
        raise at_run(error, max((len(tensor) for tensor in feeds.values()), default=0)) from error
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
