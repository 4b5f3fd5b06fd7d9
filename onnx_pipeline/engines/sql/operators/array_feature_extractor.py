"""ArrayFeatureExtractor: https://onnx.ai/onnx/operators/onnx_aionnxml_ArrayFeatureExtractor.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.lookup import looked_up
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["array_feature_extractor"]


def array_feature_extractor(node: Node) -> Tensor:
    """Elements of the last axis. A single axis of constants gives `[1, indices]`."""
    data, indices = node[0], node[1]
    return _of_rows(node, data) if indices.is_constant else _by_rows(node, data, indices)


def _of_rows(node: Node, data: Tensor) -> Tensor:
    """Fixed columns of what rows decide."""
    if data.rows == data.cells.ndim - 1:
        raise node.refused("it would take certain rows out of all")
    wanted = np.asarray(node.constant(1)).ravel()
    _check(node, wanted, data.cells.shape[-1])
    return Tensor(data.cells[..., wanted], data.dtype, data.rows)


def _by_rows(node: Node, data: Tensor, indices: Tensor) -> Tensor:
    """Of constants the one that a row names, e.g. a label: the rows become the last axis."""
    if not data.is_constant or indices.cells.size != 1:
        raise node.refused("both of its inputs differ from row to row")
    (index,) = indices
    table = data.cells.reshape(-1, data.cells.shape[-1])
    cells = np.empty((len(table), 1), object)
    for place, row in enumerate(table):
        choices = {algebra.integer(number): value for number, value in enumerate(row)}
        cells[place, 0] = looked_up(index, choices, row[-1])
    shape = (*data.cells.shape[:-1], 1) if data.cells.ndim > 1 else (1, 1)
    return Tensor(cells.reshape(shape), data.dtype, len(shape) - 1)


def _check(node: Node, wanted: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]", width: int) -> None:
    beyond = [int(index) for index in wanted if not 0 <= index < width]
    if beyond:
        raise node.refused(f"it asks for column {beyond[0]} of {width}")
