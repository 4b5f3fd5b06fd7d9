"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand: the same cells in another shape; no cell leaves its row.

https://onnx.ai/onnx/operators/onnx__Reshape.html and its brothers.
"""

import math
from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axes_of, axis_of, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = [
    "constant_of_shape",
    "expand",
    "flatten",
    "reshape",
    "shape",
    "size",
    "squeeze",
    "squeezed",
    "transpose",
    "unsqueeze",
]

_ROWS = None
"""The extent of the rows' axis in a shape."""


def reshape(node: Node) -> Tensor:
    """To the shape of the second input, with `0` for the input's extent and `-1` for what remains."""
    tensor = node[0]
    wanted = node.attribute("shape") if node.input(1) is None else extents(node, node[1])
    if not node.attribute("allowzero", 0):
        wanted = [_extent(tensor, place) if size == 0 else size for place, size in enumerate(wanted)]
    return reshaped(node, tensor, wanted)


def extents(node: Node, shape: Tensor) -> list[int | None]:
    """A shape that is computed, with None for the number of rows."""
    found: list[int | None] = []
    for cell in shape:
        if cell.op == "row_count":
            found.append(_ROWS)
        elif cell.is_constant and isinstance(cell.value, int):
            found.append(cell.value)
        else:
            raise node.refused(f"its shape is computed as {cell}, which is not known before the rows are")
    return found


def _extent(tensor: Tensor, place: int) -> int | None:
    return _ROWS if place == tensor.rows else tensor.shape[place]


def reshaped(node: Node, tensor: Tensor, wanted: Sequence[int | None]) -> Tensor:
    """The cells in row-major order, where each row keeps its own. Raises NotCompilableError where they would mix."""
    size = tensor.cells.size
    known = math.prod(extent for extent in wanted if extent not in (_ROWS, -1))
    shape = list(wanted)
    if -1 in shape:
        rest = _ROWS if tensor.rows is not None and _ROWS not in shape else size // max(known, 1)
        shape[shape.index(-1)] = rest
    rows = shape.index(_ROWS) if _ROWS in shape else None
    cells = [1 if extent is _ROWS else extent for extent in shape]
    if tensor.rows is None:
        fits = rows is None and math.prod(cells) == size
    else:
        before = math.prod(tensor.shape[: tensor.rows])
        fits = rows is not None and math.prod(cells) == size and math.prod(cells[:rows]) == before
    if not fits:
        asked = ", ".join("N" if extent is _ROWS else str(extent) for extent in wanted)
        raise node.refused(f"{tensor.described} to [{asked}] would not keep each row's values together")
    return Tensor(tensor.cells.reshape(cells), tensor.dtype, rows)


def flatten(node: Node) -> Tensor:
    """To a matrix: the axes before `axis`, and those from there."""
    tensor = node[0]
    rank = tensor.cells.ndim
    axis = node.attribute("axis", 1)
    axis = rank if axis == rank else axis_of(node, axis, rank)
    sides: list[int | None] = [math.prod(tensor.shape[:axis]), math.prod(tensor.shape[axis:])]
    if tensor.rows is not None:
        side = 0 if tensor.rows < axis else 1
        if sides[side] != 1:
            raise node.refused(f"{tensor.described} from axis {axis} would not keep each row's values together")
        sides[side] = _ROWS
    return reshaped(node, tensor, sides)


def squeeze(node: Node) -> Tensor:
    """Without the axes of extent 1."""
    tensor = node[0]
    axes = axes_of(node, tensor.cells.ndim)
    if axes is None:
        axes = [axis for axis, extent in enumerate(tensor.shape) if extent == 1 and axis != tensor.rows]
    not_rows(node, tensor, axes)
    for axis in axes:
        if tensor.shape[axis] != 1:
            raise node.refused(f"axis {axis} of {tensor.described} is longer than 1")
    return squeezed(tensor, axes)


def squeezed(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """Without axes of extent 1, none of which is that of the rows."""
    rows = None if tensor.rows is None else tensor.rows - sum(axis < tensor.rows for axis in axes)
    return Tensor(np.squeeze(tensor.cells, tuple(axes)), tensor.dtype, rows)


def unsqueeze(node: Node) -> Tensor:
    """With more axes of extent 1."""
    tensor = node[0]
    named = node.optional_constant(1)
    asked = node.attribute("axes") if named is None else [int(axis) for axis in named.ravel()]
    rank = tensor.cells.ndim + len(asked)
    axes = {axis_of(node, axis, rank) for axis in asked}
    kept = iter(range(tensor.cells.ndim))
    return reshaped(node, tensor, [1 if axis in axes else _extent(tensor, next(kept)) for axis in range(rank)])


def transpose(node: Node) -> Tensor:
    """With the axes in the order `perm`, or backwards."""
    tensor = node[0]
    order = node.attribute("perm") or list(range(tensor.cells.ndim))[::-1]
    rows = None if tensor.rows is None else order.index(tensor.rows)
    return Tensor(tensor.cells.transpose(order), tensor.dtype, rows)


def expand(node: Node) -> Tensor:
    """Repeated to a shape, by the rules of broadcasting."""
    return filled(node, node[0], extents(node, node[1]))


def filled(node: Node, tensor: Tensor, shape: Sequence[int | None]) -> Tensor:
    """A tensor repeated to a shape, which may have an axis of rows."""
    rank = max(len(shape), tensor.cells.ndim)
    asked = [1] * (rank - len(shape)) + list(shape)
    rows = {axis for axis, extent in enumerate(asked) if extent is _ROWS}
    if tensor.rows is not None:
        rows.add(tensor.rows + rank - tensor.cells.ndim)
    if len(rows) > 1:
        raise node.refused("the rows would meet themselves")
    axis = rows.pop() if rows else None
    extent = [1 if each is _ROWS else each for each in asked]
    if axis is not None and extent[axis] != 1:
        raise node.refused(f"it would repeat {tensor.described} a certain number of times")
    cells = np.broadcast_arrays(tensor.cells, np.empty(extent, object))[0]
    if axis is not None and cells.shape[axis] != 1:
        raise node.refused("a constant has a value for each of a certain number of rows")
    return Tensor(cells, tensor.dtype, axis)


def _shape_cells(tensor: Tensor) -> list[Expression]:
    return [
        algebra.row_count() if axis == tensor.rows else algebra.integer(extent)
        for axis, extent in enumerate(tensor.shape)
    ]


def shape(node: Node) -> Tensor:
    """The extents from `start` to `end`; that of the rows is known by its name alone."""
    cells = _shape_cells(node[0])
    return Tensor.of_cells(cells[slice(node.attribute("start", 0), node.attribute("end"))], np.int64, None)


def size(node: Node) -> Tensor:
    """How many elements there are."""
    count = algebra.integer(node[0].cells.size)
    if node[0].rows is not None:
        count = algebra.multiply(algebra.row_count(), count)
    return Tensor.of_cells(count, np.int64, None)


def constant_of_shape(node: Node) -> Tensor:
    """One value everywhere."""
    value = node.attribute("value", np.zeros(1, np.float32))
    one = Tensor.of_array(np.asarray(value).reshape(()))
    return filled(node, one, extents(node, node[0]))
