"""What was found at first looks, kept as files: `<sha256>/<version>.json`, and the model that runs beside it.

It is of one form of the facts and one version of ONNX Runtime; whatever of it was damaged counts as not there, so that
the model is looked at again.
"""

import hashlib
import json
import logging
from typing import Any, Protocol

import onnxruntime as ort

from onnx_pipeline.base.errors import ModelError
from onnx_pipeline.models.artifact_files import ArtifactFiles
from onnx_pipeline.models.facts import FACTS_FORMAT
from onnx_pipeline.models.providers import CPU
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["KeptLooks"]

_logger = logging.getLogger(__name__)

_DEFAULTS = ((CPU,), "all")


class _Tidy(Protocol):
    def __call__(self) -> None: ...


class KeptLooks:
    """Verdicts on models by sha256. Any number of processes may use the same files at once.

    A place that cannot be read or written keeps nothing, and nobody is stopped by it.
    """

    def __init__(self, files: ArtifactFiles, *, folder: str = "looks", tidy: _Tidy | None = None) -> None:
        """`tidy` is called after something was kept."""
        self._files = files
        self._folder = folder
        self._tidy = tidy

    def find(self, sha256: str, options: RuntimeOptions) -> dict[str, Any] | None:
        """`{"facts": ..., "normalised": bytes}` or `{"refusal": ...}`; None where the model has to be looked at.

        `normalised` is missing where the model runs as it came. A refusal for time or memory counts only where the
        limit is not higher now.
        """
        try:
            data = self._files.read(self._name(sha256, options))
            found = None if data is None else _checked(data, sha256)
            if found is None or ("refusal" in found and _allowed_more(found["refusal"].get("limit", {}), options)):
                return None
            runs = found.get("facts", {}).get("normalised_sha256", sha256)
            if runs != sha256:
                normalised = self._files.read(self._beside(sha256, runs))
                if normalised is None or hashlib.sha256(normalised).hexdigest() != runs:
                    return None
                found["normalised"] = normalised
        except ModelError as error:
            _logger.info("what was found out about model %s cannot be read: %s", sha256, error)
            return None
        return found

    def keep(self, sha256: str, options: RuntimeOptions, found: dict[str, Any], normalised: bytes | None) -> None:
        """Keeps what `find` gives, the model that runs first: where the verdict lies, the rest does."""
        verdict = {"format": FACTS_FORMAT, "onnxruntime": ort.__version__, "sha256": sha256}
        verdict |= {name: found[name] for name in ("facts", "refusal") if name in found}
        try:
            if normalised is not None:
                self._files.keep(self._beside(sha256, hashlib.sha256(normalised).hexdigest()), normalised)
            self._files.replace(self._name(sha256, options), json.dumps(verdict).encode())
            if self._tidy is not None:
                self._tidy()
        except ModelError as error:
            _logger.info("what was found out about model %s is not kept: %s", sha256, error)

    def _name(self, sha256: str, options: RuntimeOptions) -> str:
        asked = (tuple(options.providers), options.graph_optimization)
        more = "" if asked == _DEFAULTS else "-" + hashlib.sha256(repr(asked).encode()).hexdigest()[:8]
        return f"{self._folder}/{sha256}/{FACTS_FORMAT}-{ort.__version__}{more}.json"

    def _beside(self, sha256: str, normalised: str) -> str:
        return f"{self._folder}/{sha256}/{normalised}.onnx"


def _checked(data: bytes, sha256: str) -> dict[str, Any] | None:
    """The verdict, as far as it is a whole one on this model."""
    try:
        found = json.loads(data)
        facts, refusal = found.get("facts"), found.get("refusal")
        if (found["format"], found["onnxruntime"], found["sha256"]) != (FACTS_FORMAT, ort.__version__, sha256):
            return None
        if isinstance(facts, dict) and facts["sha256"] == sha256 and isinstance(facts["normalised_sha256"], str):
            return {"facts": facts}
        if isinstance(refusal, dict) and all(isinstance(refusal[name], str) for name in ("error", "message")):
            return {"refusal": refusal}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _allowed_more(limit: dict[str, float], options: RuntimeOptions) -> bool:
    return options.look_seconds > limit.get("seconds", float("inf")) or options.look_memory > limit.get(
        "memory", float("inf")
    )
