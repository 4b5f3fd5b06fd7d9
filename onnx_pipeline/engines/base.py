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
