"""How many rows one call of a model takes, and what is done where memory holds fewer."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from onnx_pipeline.base.errors import OutOfMemoryError
from onnx_pipeline.models import runtime
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["Calls", "rows_of_a_call"]

Tensors: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

_logger = logging.getLogger(__name__)


def rows_of_a_call(options: RuntimeOptions, *, row_bytes: int | None, fixed_batch: int | None) -> int:
    """Rows that one call takes at most.

    `row_bytes` is what one row takes between the model's operators, None where that is unknown.
    """
    if fixed_batch is not None:
        return fixed_batch
    if not row_bytes:
        return options.batch_rows
    return min(options.batch_rows, max(1, options.call_memory // row_bytes))


class Calls:
    """Runs a model over any number of rows, in calls that memory holds. May be used from several threads."""

    def __init__(
        self, session: ort.InferenceSession, outputs: Sequence[str], *, rows: int, fixed_batch: int | None
    ) -> None:
        """`rows` is what one call takes at most, or exactly where it is the `fixed_batch`."""
        self._session = session
        self._outputs = list(outputs)
        self._rows = rows
        self._fixed_batch = fixed_batch

    @property
    def rows(self) -> int:
        """Rows that one call takes at most: fewer than at first, once memory did not hold those."""
        return self._rows

    def __call__(
        self,
        feeds: Tensors,
        rows: int,
        *,
        options: ort.RunOptions | None = None,
        before: Callable[[], None] | None = None,
    ) -> list[np.ndarray[Any, Any]]:
        """The outputs for `rows` rows, in order; `before` is called before each call of the model.

        Where a call gets no memory, half the rows are tried, and that is remembered. Raises DataError for rows that
        the model refuses, OutOfMemoryError where there is no memory for a single one.
        """
        parts: list[list[np.ndarray[Any, Any]]] = []
        done = 0
        while done < rows or not parts:
            size = min(self._rows, rows - done)
            part = feeds if size == rows else {name: tensor[done : done + size] for name, tensor in feeds.items()}
            if before is not None:
                before()
            try:
                answers = runtime.run_rows(
                    self._session, self._outputs, part, size, fixed_batch=self._fixed_batch, options=options
                )
            except OutOfMemoryError:
                if self._fixed_batch is not None or size <= 1:
                    raise
                self._rows = max(1, min(self._rows, size // 2))
                _logger.warning("no memory for %d rows in one call of the model; going on with %d", size, self._rows)
                continue
            parts.append(answers)
            done += size
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(answers) for answers in zip(*parts, strict=True)]
