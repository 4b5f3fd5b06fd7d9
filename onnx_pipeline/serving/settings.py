"""Everything about the service that can be set, with defaults for a machine of a few cores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.serving.column_names import parse_features
from onnx_pipeline.serving.served import Features

__all__ = ["MODELS", "ServingSettings"]

MODELS = "ONNX_PIPELINE_SERVE_MODELS"
FEATURES = "ONNX_PIPELINE_SERVE_FEATURES"
_PREFIX = "ONNX_PIPELINE_SERVE_"


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class ServingSettings:
    """How the service runs. Each field of numbers is also read from ONNX_PIPELINE_SERVE_<FIELD>."""

    models: tuple[str, ...] = ()
    """Folders, `az://` containers or folders, `.onnx` files or URIs, each perhaps as `name=...`."""
    features: Mapping[str, Features] = field(default_factory=dict)
    """Names of the columns of `[N, F]` inputs, in the order of training, by model; `""` is the only one. Also
    ONNX_PIPELINE_SERVE_FEATURES: `model=a,b`, a JSON object, or the path of a file that holds one."""
    keys: frozenset[str] = field(default=frozenset(), repr=False)
    """API keys, any of which opens the service; without one it serves loopback only."""
    trust_host: bool = False
    """Whether the host in front (Azure Functions, an Azure ML endpoint) has checked a key already; also
    ONNX_PIPELINE_SERVE_TRUST_HOST=true."""
    max_body_bytes: int = 64 * 2**20
    """Of one request. 100,000 rows of 28 floats are 11 MB as Arrow and some 40 MB as JSON records."""
    max_held_bytes: int = 512 * 2**20
    """Of all requests together: their bodies, and the values that these become, of JSON 6 to 11 times as much. What
    comes on top waits, and a request that could never fit is refused with 413."""
    threads: int = field(default_factory=_cores)
    """Requests that are scored at the same time."""
    queue: int = 64
    """Requests that may wait for a thread; more than these are refused with 429."""
    receive_seconds: float = 60.0
    """For a request's body to arrive."""
    score_seconds: float = 120.0
    """For waiting and scoring; Azure Functions ends a request after 230 s."""
    send_seconds: float = 60.0
    """For a client to take its answer."""
    shutdown_seconds: float = 30.0
    """For the requests at hand to finish once the service is told to stop."""
    reload_seconds: float = 10.0
    """Between two looks at the artifacts' change tokens."""
    access_log: bool = True
    """One line of JSON per request."""
    runtime: RuntimeOptions = field(default_factory=lambda: RuntimeOptions(intra_op_threads=1))
    """One thread per request: several requests at once already keep the cores busy, and ONNX Runtime's own
    threads spin while they wait for work."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ServingSettings":
        """The settings of a service that no command line starts: Azure Functions, Azure ML, another ASGI server.

        Raises SpecError for a value that is no number, none that makes sense, or neither true nor false.
        """
        from onnx_pipeline.serving.auth import keys_from_environment

        given = os.environ if environment is None else environment
        numbers = {
            name: _number(f"{_PREFIX}{name.upper()}", given[f"{_PREFIX}{name.upper()}"], kind)
            for name, kind in _NUMBERS.items()
            if given.get(f"{_PREFIX}{name.upper()}", "").strip()
        }
        models = tuple(part for part in given.get(MODELS, "").split() if part)
        features = parse_features([text] if (text := given.get(FEATURES, "").strip()) else [])
        trust_host = _yes(f"{_PREFIX}TRUST_HOST", given.get(f"{_PREFIX}TRUST_HOST", ""))
        keys = keys_from_environment(given)
        return cls(models=models, features=features, keys=keys, trust_host=trust_host, **numbers)  # type: ignore[arg-type]


_NUMBERS: dict[str, type[int] | type[float]] = {
    "max_body_bytes": int,
    "max_held_bytes": int,
    "threads": int,
    "queue": int,
    "receive_seconds": float,
    "score_seconds": float,
    "send_seconds": float,
    "shutdown_seconds": float,
    "reload_seconds": float,
}


def _yes(variable: str, text: str) -> bool:
    value = text.strip().lower()
    if value not in {"", "0", "false", "1", "true"}:
        raise SpecError(f"{variable} is {text!r}, which is neither true nor false; write {variable}=true, or unset it")
    return value in {"1", "true"}


def _number(variable: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(text)
    except ValueError as error:
        raise SpecError(f"{variable} is {text!r}, which is no number; write e.g. {variable}=60") from error
    may_be_zero = variable == f"{_PREFIX}QUEUE"
    # Written so that NaN is refused too.
    if not (value > 0 or (may_be_zero and value == 0)):
        raise SpecError(f"{variable} is {text}; write a number greater than 0")
    return value
