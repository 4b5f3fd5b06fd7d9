"""Slice and Split: parts of a tensor along its axes. https://onnx.ai/onnx/operators/onnx__Slice.html"""

import numpy as np

from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.axes import axis_of, not_rows
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["slices", "split"]


def slices(node: Node) -> Tensor:
    """From `starts` to `ends` by `steps` along `axes`; of the rows, all of them or none."""
    tensor = node[0]
    starts, ends, axes, steps = (
        node.attribute(name) if node.input(place) is None else [int(each) for each in node.constant(place).ravel()]
        for place, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    axes = range(len(starts)) if axes is None else [axis_of(node, axis, tensor.cells.ndim) for axis in axes]
    cuts = [slice(None)] * tensor.cells.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        if axis == tensor.rows:
            if start != 0 or end < _EVERY or step != 1:
                not_rows(node, tensor, [axis])
            continue
        extent = tensor.shape[axis]
        # Counted from the end where negative; -1 as the end of a way backwards is before the first.
        cuts[axis] = slice(*slice(start, None if step < 0 and end < -extent else end, step).indices(extent))
        if step < 0 and cuts[axis].stop < 0:
            cuts[axis] = slice(cuts[axis].start, None, step)
    return Tensor(tensor.cells[tuple(cuts)], tensor.dtype, tensor.rows)


_EVERY = 2**31 - 1
"""An end beyond which exporters mean all there are."""


def split(node: Node) -> list[Tensor]:
    """Into parts of given or equal extents."""
    tensor = node[0]
    axis = axis_of(node, node.attribute("axis", 0), tensor.cells.ndim)
    not_rows(node, tensor, [axis])
    named = node.optional_constant(1)
    extents = node.attribute("split") if named is None else [int(each) for each in named.ravel()]
    if not extents:
        parts = node.attribute("num_outputs", node.outputs)
        each = -(-tensor.shape[axis] // parts)
        extents = [each] * (parts - 1) + [tensor.shape[axis] - each * (parts - 1)]
    cut = np.split(tensor.cells, np.cumsum(extents)[:-1], axis)
    return [Tensor(cells, tensor.dtype, tensor.rows) for cells in cut]
