"""Scoring on a device: columns are copied as they lie, transposed there, and several batches are under way."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.errors import OutOfMemoryError
from onnx_pipeline.models.accelerators.slots import UNDER_WAY, Slot, Slots
from onnx_pipeline.models.features import Packer
from onnx_pipeline.models.outputs import OutputColumn, unpack

__all__ = ["ColumnScorer"]

Tensor = np.ndarray[Any, Any]
Check: TypeAlias = Callable[[pa.RecordBatch], None]
Finish: TypeAlias = Callable[[Tensor, list[Tensor]], None]

_logger = logging.getLogger(__name__)


class ColumnScorer:
    """From batches of features to predictions, through slots. May be used from several threads.

    Memory is that of `UNDER_WAY` slots, and of as many batches beside them, whatever the number of rows.
    """

    def __init__(
        self,
        slots: Slots,
        packer: Packer,
        outputs: Sequence[str],
        wanted: Sequence[OutputColumn],
        *,
        rows: int,
        check: Check,
        finish: Finish,
    ) -> None:
        """`rows` is what a call takes at most, and a slot holds.

        `check` raises for a batch that must not be scored; `finish` puts right what the device answers otherwise than
        the CPU, given the columns and the answers.
        """
        self._slots = slots
        self._packer = packer
        self._outputs = tuple(outputs)
        self._wanted = tuple(wanted)
        self._rows = rows
        self._check = check
        self._finish = finish

    def __call__(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """One array of `batch.num_rows` values per prediction."""
        if batch.num_rows <= self._rows:
            return self._scored(batch)
        parts = [arrays for _, arrays in self.stream([batch])]
        return [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)]

    def stream(self, batches: Iterable[pa.RecordBatch]) -> Generator[tuple[pa.RecordBatch, list[pa.Array]], None, None]:
        """Each batch with its predictions, in order; a larger one than a call takes comes back in parts."""
        waiting: deque[tuple[pa.RecordBatch, Future[list[pa.Array]]]] = deque()
        with ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="device") as pool:
            try:
                for batch in self._cut(batches):
                    waiting.append((batch, pool.submit(self._scored, batch)))
                    if len(waiting) > UNDER_WAY:
                        part, answer = waiting.popleft()
                        yield part, answer.result()
                while waiting:
                    part, answer = waiting.popleft()
                    yield part, answer.result()
            finally:
                for _, answer in waiting:
                    answer.cancel()

    def _cut(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows <= self._rows:
                yield batch
                continue
            start = 0
            while start < batch.num_rows:
                size = self._rows
                yield batch.slice(start, size)
                start += size

    def _scored(self, batch: pa.RecordBatch) -> list[pa.Array]:
        if batch.num_rows == 0:
            self._packer(batch)  # an empty batch whose columns do not fit is still an error
            return [pa.array([], type=column.arrow) for column in self._wanted]
        self._check(batch)
        with self._slots.lent() as slot:
            try:
                return self._run(slot, batch)
            except OutOfMemoryError:
                if batch.num_rows == 1:
                    raise
        half = (batch.num_rows + 1) // 2
        if half < self._rows:  # not yet said by a batch beside it
            self._rows = half
            _logger.warning("no memory for %d rows in one call of the model; going on with %d", batch.num_rows, half)
        parts = [self._scored(batch.slice(0, half)), self._scored(batch.slice(half))]
        return [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)]

    def _run(self, slot: Slot, batch: pa.RecordBatch) -> list[pa.Array]:
        columns = slot.columns(batch.num_rows)
        self._packer.fill(batch, columns)
        answers = slot.run(batch.num_rows)
        # The slot's memory is another batch's next.
        answers = [answer.copy() for answer in answers]
        self._finish(columns, answers)
        return unpack(self._outputs, answers, batch.num_rows, self._wanted)
