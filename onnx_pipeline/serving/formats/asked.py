"""What every format takes and gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from onnx_pipeline.serving.served import Job, ServedModel

__all__ = ["Answer", "Asked", "Format"]


@dataclass(frozen=True)
class Asked:
    """One request to score."""

    body: bytes | bytearray | memoryview
    served: ServedModel
    accept_nan: bool
    """Whether a tree that was exported without missing-value tracking may see missing values all the same."""
    job: Job
    in_order: bool = False
    """Whether the columns are said to be in the order of training, so that an input without names may go by it."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Its predictions."""

    body: bytes
    media_type: str
    rows: int
    headers: Mapping[str, str] = field(default_factory=dict)


Format: TypeAlias = Callable[[Asked], Answer]
