"""The parts of a slice: where tasks of a cluster find rows, and where they leave predictions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.imports import imported

__all__ = ["Part", "PartPlan", "Parts", "Written", "part_rows"]

Part: TypeAlias = Mapping[str, Any]
"""What tells one part from the others, as JSON; what stands in it is the business of its `Parts`."""


@dataclass(frozen=True)
class Written:
    """What one attempt of a task left. Another attempt of the same part leaves its own, under another name."""

    name: str
    rows: int
    bytes: int
    checksum: int
    """CRC-32 of what was written, as its `Parts` reckons it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Parts(ABC):
    """How a task reads its part and writes what became of it. Made anew in each task, from options that are JSON.

    What is written stays invisible until the run's own process names it: a task may be run twice, and die at any time.
    """

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None:
        """Holds no secret: what signs in to a storage or a server stands in the environment of the task."""

    @abstractmethod
    def read(self, part: Part, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The part's rows, of these columns, in batches of at most `rows` rows."""

    @abstractmethod
    def write(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Written:
        """Write all batches under a name that no other attempt has."""


def part_rows(total: int, *, most: int, wanted: int) -> int:
    """Rows of a part, where `total` rows are to become about `wanted` parts of at most `most` rows."""
    return max(1, min(most, -(-total // max(1, wanted))))


@dataclass(frozen=True)
class PartPlan:
    """The parts of one slice."""

    way: str
    """`module:Class` of their `Parts`."""
    options: Mapping[str, Any]
    parts: Sequence[Part]
    rows: int
    """In all of them."""
    marks: Sequence[str] | None = None
    """What passes through a task unchanged, where that is not the marks of the landing."""

    def open(self) -> Parts:
        """Raises SpecError where the machine lacks what they are made of."""
        try:
            kind = imported(self.way)
        except ImportError as error:
            raise SpecError(
                f"a task of the cluster cannot import what reads and writes its part ({error}): install "
                "onnx-pipeline on the cluster's machines with the extra of the pool, onnx-pipeline[mssql] for one"
            ) from error
        made: Parts = kind(self.options)
        return made
