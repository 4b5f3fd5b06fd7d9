"""Rows with NaN and infinities, which an accelerator may answer otherwise than the CPU: the CPU answers them.

CUDA's Relu makes 0 of NaN, for instance, and a row with a missing value would get a prediction like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Tensors", "put_right", "rows_beyond", "rows_beyond_in_columns"]

Tensor = np.ndarray[Any, Any]
Tensors: TypeAlias = Mapping[str, Tensor]


def rows_beyond(feeds: Tensors) -> Tensor:
    """The rows in which a float is no finite number, in order. Where all are, that takes one sum."""
    found = [
        np.flatnonzero(~np.isfinite(tensor).reshape(len(tensor), -1).all(axis=1))
        for tensor in feeds.values()
        if tensor.dtype.kind == "f" and not _all_finite(tensor)
    ]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)


def rows_beyond_in_columns(columns: Tensor) -> Tensor:
    """The same for `[C, N]`."""
    if columns.dtype.kind != "f":
        return np.empty(0, np.intp)
    suspect = [column for column in columns if not _all_finite(column)]
    if not suspect:
        return np.empty(0, np.intp)
    return np.flatnonzero(~np.isfinite(suspect).all(axis=0))


def put_right(answers: list[Tensor], rows: Tensor, on_cpu: Callable[[], Sequence[Tensor]]) -> None:
    """Puts the CPU's answers for those rows in the place of the others; `on_cpu` is asked where there are any."""
    if not len(rows):
        return
    for place, answer in enumerate(on_cpu()):
        if not answers[place].flags.writeable:
            answers[place] = answers[place].copy()
        answers[place][rows] = answer


def _all_finite(values: Tensor) -> bool:
    """A sum that is finite has only finite parts; one that is not may have overflowed, and is looked at again."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(values, axis=None, dtype=np.float32 if values.dtype == np.float16 else None)
    return bool(np.isfinite(total))
