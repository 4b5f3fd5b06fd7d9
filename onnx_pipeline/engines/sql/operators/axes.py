"""Axes that operators name, as attributes or as inputs, and what may not happen along the rows."""

from collections.abc import Callable, Sequence

import numpy as np

from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["axes_of", "axis_of", "changed", "not_rows", "reduced"]


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front. Raises NotCompilableError for one that the tensor does not have."""
    if not -rank <= axis < rank:
        raise node.refused(f"its axis {axis} is none of the {rank} that its input has")
    return axis % rank


def not_rows(node: Node, tensor: Tensor, axes: Sequence[int]) -> None:
    """Raises NotCompilableError where the operator would look along the rows: each row is scored by itself."""
    if tensor.rows in axes:
        raise node.refused(f"it works along axis {tensor.rows} of {tensor.described}, and so mixes rows")


def axes_of(node: Node, rank: int, place: int = 1) -> list[int] | None:
    """The axes of the attribute `axes`, or of the input that later operator sets have for it; None: none are named."""
    named = node.optional_constant(place)
    axes = node.attribute("axes") if named is None else [int(axis) for axis in named.ravel()]
    return None if axes is None else sorted({axis_of(node, axis, rank) for axis in axes})


def reduced(tensor: Tensor, axes: Sequence[int], compute: Callable[[list[Expression]], Expression]) -> Tensor:
    """What `compute` makes of the cells along the axes, which keep the extent 1."""
    kept = [axis for axis in range(tensor.cells.ndim) if axis not in axes]
    lines = tensor.cells.transpose([*kept, *axes])
    outer = lines.shape[: len(kept)]
    made = np.empty(outer, object)
    for place in np.ndindex(outer):
        made[place] = compute(list(lines[place].ravel()))
    shape = [1 if axis in axes else extent for axis, extent in enumerate(tensor.shape)]
    return Tensor(made.reshape(shape), tensor.dtype, tensor.rows)


def changed(tensor: Tensor, axes: Sequence[int], compute: Callable[[list[Expression]], list[Expression]]) -> Tensor:
    """The same shape with the cells along the axes changed together."""
    kept = [axis for axis in range(tensor.cells.ndim) if axis not in axes]
    order = [*kept, *axes]
    lines = tensor.cells.transpose(order)
    made = np.empty(lines.shape, object)
    for place in np.ndindex(lines.shape[: len(kept)]):
        made[place].ravel()[:] = compute(list(lines[place].ravel()))
    return Tensor(made.transpose(np.argsort(order)), tensor.dtype, tensor.rows)
