"""Gather and GatherElements: values by their places. https://onnx.ai/onnx/operators/onnx__Gather.html"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, not_rows
from onnx_pipeline.engines.sql.operators.where import chosen
from onnx_pipeline.engines.sql.tensors import Array, Tensor

__all__ = ["gather", "gather_elements", "picked"]


def gather(node: Node) -> Tensor:
    """Along an axis. Where each row has its own place, of a constant or of the same row."""
    data, places = node[0], node[1]
    axis = axis_of(node, node.attribute("axis", 0), data.cells.ndim)
    not_rows(node, data, [axis])
    if places.is_constant:
        cells = np.take(data.cells, _counted(node, places.array, data.shape[axis]), axis)
        rows = data.rows
        if rows is not None and rows > axis:
            rows += places.cells.ndim - 1
        return Tensor.of_cells(cells, data.dtype, rows)
    if data.rows is not None:
        raise node.refused("each row would choose from every other row")
    along = np.moveaxis(data.cells, axis, 0)
    made = np.empty(places.shape + along.shape[1:], object)
    for place in np.ndindex(places.shape):
        for rest in np.ndindex(along.shape[1:]):
            made[place + rest] = picked(places.cells[place], list(along[(slice(None), *rest)]))
    rank = places.cells.ndim
    made = np.moveaxis(made, list(range(rank)), list(range(axis, axis + rank)))
    rows = None if places.rows is None else places.rows + axis
    return Tensor(made, data.dtype, rows)


def gather_elements(node: Node) -> Tensor:
    """Of each place's own line along an axis."""
    data, places = node[0], node[1]
    axis = axis_of(node, node.attribute("axis", 0), data.cells.ndim)
    not_rows(node, data, [axis])
    not_rows(node, places, [axis])
    if data.rows is not None and places.rows is None:
        raise node.refused("its places are for a certain number of rows")
    made = np.empty(places.shape, object)
    for place in np.ndindex(places.shape):
        line = data.cells[(*place[:axis], slice(None), *place[axis + 1 :])]
        made[place] = picked(places.cells[place], list(line))
    return Tensor(made, data.dtype, places.rows)


def _counted(node: Node, places: Array, extent: int) -> Array:
    if places.size and not (-extent <= places.min() and places.max() < extent):
        raise node.refused(f"it takes places {places.min()} to {places.max()} of {extent}")
    return places.astype(np.int64) % max(extent, 1)


def picked(place: Any, values: Sequence[Expression]) -> Expression:
    """The value at a place, which may be counted from the end."""
    if place.is_constant:
        return values[int(place.value)]
    result = values[-1]
    for number in reversed(range(len(values) - 1)):
        here = conditions.any_of(
            *(conditions.equals(place, algebra.constant(at, place.kind)) for at in (number, number - len(values)))
        )
        result = chosen(here, values[number], result)
    return result
