"""Scaler: `(x - offset) * scale` in float32. https://onnx.ai/onnx/operators/onnx_aionnxml_Scaler.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["scaler"]


def scaler(node: Node) -> Tensor:
    """`[N, F]` of float32; one offset and one scale per column, or one for all."""
    cells = [algebra.narrow(cell) for cell in node[0].matrix()]
    offsets = _per_column(node.attribute("offset", [0.0]), len(cells))
    scales = _per_column(node.attribute("scale", [1.0]), len(cells))
    scaled = [
        algebra.multiply(
            algebra.subtract(cell, algebra.constant(offset, Kind.FLOAT)), algebra.constant(scale, Kind.FLOAT)
        )
        for cell, offset, scale in zip(cells, offsets, scales, strict=True)
    ]
    return Tensor.of_cells([scaled], np.float32)


def _per_column(values: list[float], columns: int) -> list[float]:
    return values * columns if len(values) == 1 else values
