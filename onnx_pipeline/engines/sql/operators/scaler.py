"""Scaler: `(x - offset) * scale`. https://onnx.ai/onnx/operators/onnx_aionnxml_Scaler.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import exact, per_column, rows_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["scaler"]


def scaler(node: Node) -> Tensor:
    """`[N, F]` of float32; one offset and one scale per column, or one for all.

    Doubles are scaled in double precision, everything else in float32.
    """
    columns = len(rows_of(node))
    offsets = per_column(node, "offset", node.attribute("offset") or [0.0], columns)
    scales = per_column(node, "scale", node.attribute("scale") or [1.0], columns)
    scaled = []
    for cell, offset, scale in zip(exact(node[0]), offsets, scales, strict=True):
        number = cell if cell.kind is Kind.DOUBLE else algebra.narrow(cell)
        moved = algebra.subtract(number, algebra.constant(offset, Kind.FLOAT))
        scaled.append(algebra.narrow(algebra.multiply(moved, algebra.constant(scale, Kind.FLOAT))))
    return Tensor.of_cells([scaled], np.float32)
