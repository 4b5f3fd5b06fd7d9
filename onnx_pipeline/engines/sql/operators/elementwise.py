"""Cells of several tensors put together, with numpy's broadcasting."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.tensors import Tensor, broadcast

__all__ = ["together"]


def together(compute: Callable[..., Expression], *tensors: Tensor, dtype: Any = None) -> Tensor:
    """`compute` of the cells at each place. Without `dtype` that of the first tensor."""
    cells, rows = broadcast(*tensors)
    made = np.empty(cells[0].shape, object)
    made.ravel()[:] = [compute(*each) for each in zip(*(each.ravel() for each in cells), strict=True)]
    return Tensor(made, tensors[0].dtype if dtype is None else np.dtype(dtype), rows)
