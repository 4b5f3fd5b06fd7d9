"""Binarizer: https://onnx.ai/onnx/operators/onnx_aionnxml_Binarizer.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import exact
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["binarizer"]

_ZERO = algebra.constant(0, Kind.FLOAT)
_ONE = algebra.constant(1, Kind.FLOAT)


def binarizer(node: Node) -> Tensor:
    """1 above the threshold, else 0. A missing value stays one: ONNX Runtime scores no row of such a batch."""
    threshold = algebra.constant(node.attribute("threshold", 0.0), Kind.FLOAT)

    def binary(cell: Expression) -> Expression:
        arms = [
            (conditions.is_missing(cell), algebra.absent(Kind.FLOAT)),
            (conditions.beyond(cell, threshold), _ONE),
        ]
        return conditions.case(arms, _ZERO)

    return exact(node[0]).map(binary, np.float32)
