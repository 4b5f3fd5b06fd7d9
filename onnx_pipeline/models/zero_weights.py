"""Which columns a node weighs by something else than zero."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnx_pipeline.models.column_reach import Constants, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["weighed"]


def weighed(
    node: "NodeProto", moving: str, width: int, read: "set[int] | None", constant: Constants
) -> "Sequence[bool] | None":
    """By column of the input `moving` whether it has a weight for the columns that are `read` of the output.

    None of an operator that weighs nothing, or by something else than constants.
    """
    weights = _weights(node, moving, width, constant)
    if weights is None or weights.shape[0] != width:
        return None
    if weights.ndim > 1 and read is not None and all(column < weights.shape[1] for column in read):
        weights = weights[:, sorted(read)]
    found: list[bool] = (weights.reshape(width, -1) != 0).any(axis=1).tolist()
    return found


def _weights(
    node: "NodeProto", moving: str, width: int, constant: Constants
) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None":
    """`[F]` or `[F, H]`."""
    if node.op_type in ("LinearClassifier", "LinearRegressor"):
        values = np.array(attribute(node, "coefficients", ()), np.float32)
        return None if not values.size or values.size % width else values.reshape(-1, width).T
    if node.op_type == "Scaler":
        values = np.array(attribute(node, "scale", ()), np.float32)
        return np.broadcast_to(values, (width,)) if values.size == 1 else values
    if node.op_type == "Mul":
        held = constant(node.input[1 if node.input[0] == moving else 0])
        return None if held is None or held.size not in (1, width) else np.broadcast_to(held.reshape(-1), (width,))
    if node.input[0] != moving or len(node.input) < 2:
        return None
    held = constant(node.input[1])
    if held is None or held.ndim != 2:
        return None
    if node.op_type == "MatMul":
        return held
    if node.op_type == "Gemm" and not attribute(node, "transA", 0):
        return held.T if attribute(node, "transB", 0) else held
    return None
