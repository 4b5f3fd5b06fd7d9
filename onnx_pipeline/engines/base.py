"""What computes predictions from features."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["Engine"]


class Engine(ABC):
    """Scores batches of features with one model."""

    kind: ClassVar[str]

    @abstractmethod
    def score(
        self,
        binding: Binding,
        outputs: Sequence[OutputColumn],
        nulls: Mapping[str, Any],
        batches: Iterable[pa.RecordBatch],
    ) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        """Each batch with its predictions: one array of `batch.num_rows` values per output, in the order of `outputs`.

        Batches come back in order; an engine may keep several in flight, and may cut a batch into smaller ones.
        """

    def cancel(self) -> None:  # noqa: B027 - an engine that never waits has nothing to give up
        """Give up what is under way; called from another thread while `score` waits. Nothing is scored after it."""

    def facts(self) -> Mapping[str, Any]:
        """What the materialization of the slice scored last shows of the engine: names, and texts or numbers."""
        return {}

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give back what the engine holds, connections for instance; called once, when nothing is under way."""
