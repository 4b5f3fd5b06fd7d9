"""How much a model may take: while it is looked at first, and in one call. The one place that reads these variables."""

import os

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.sizes import bytes_of

__all__ = ["CALL_MEMORY", "LOOK_MEMORY", "LOOK_SECONDS", "TRUST", "call_memory", "look_memory", "look_seconds", "trust"]

LOOK_SECONDS = "ONNX_PIPELINE_LOOK_SECONDS"
LOOK_MEMORY = "ONNX_PIPELINE_LOOK_MEMORY"
CALL_MEMORY = "ONNX_PIPELINE_CALL_MEMORY"
TRUST = "ONNX_PIPELINE_TRUST_MODELS"


def look_seconds() -> float:
    """Seconds that loading and trying a model may take at its first look. Raises SpecError, as the others do."""
    text = os.environ.get(LOOK_SECONDS, "").strip() or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SpecError(f"{LOOK_SECONDS} is {text!r}, which is no number of seconds; write {LOOK_SECONDS}=60, say")
    return seconds


def look_memory() -> int:
    """Bytes of memory that it may take."""
    return bytes_of(os.environ.get(LOOK_MEMORY, "").strip() or "4GB", setting=LOOK_MEMORY)


def call_memory() -> int:
    """Bytes that the tensors of one call may take."""
    return bytes_of(os.environ.get(CALL_MEMORY, "").strip() or "1GB", setting=CALL_MEMORY)


def trust() -> bool:
    """Whether models are loaded in this process unseen."""
    text = os.environ.get(TRUST, "").strip().lower()
    if text not in {"", "0", "false", "1", "true"}:
        raise SpecError(f"{TRUST} is {text!r}, which is neither true nor false; write {TRUST}=true, or unset it")
    return text in {"1", "true"}
