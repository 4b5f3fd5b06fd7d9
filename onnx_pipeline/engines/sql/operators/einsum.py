"""Einsum: sums of products by the names of axes. https://onnx.ai/onnx/operators/onnx__Einsum.html"""

import numpy as np

from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.matmul import dot
from onnx_pipeline.engines.sql.tensors import Cells, Tensor

__all__ = ["einsum"]


def einsum(node: Node) -> Tensor:
    """Of two tensors, each axis named once; others have no form here."""
    equation = str(node.attribute("equation")).replace(" ", "")
    names, _, result = equation.partition("->")
    operands = names.split(",")
    if len(operands) != 2 or "." in equation or not result or any(len(set(each)) < len(each) for each in operands):
        raise node.refused(f"the equation {equation!r} has no form in SQL; one of two tensors with a named result has")
    left, right = node[0], node[1]
    of_rows = {
        each[tensor.rows] for each, tensor in zip(operands, (left, right), strict=True) if tensor.rows is not None
    }
    if len(of_rows) > 1 or not of_rows <= set(result):
        raise node.refused(f"the equation {equation!r} mixes rows")
    summed = sorted(set("".join(operands)) - set(result))
    sizes: dict[str, int] = {}
    for each, tensor in zip(operands, (left, right), strict=True):
        sizes |= dict(zip(each, tensor.shape, strict=True))
    made: Cells = np.empty([sizes[name] for name in result], object)
    lines = [
        _ordered(tensor, each, result, summed, sizes) for each, tensor in zip(operands, (left, right), strict=True)
    ]
    kind = Kind.INTEGER if left.kind is Kind.INTEGER else Kind.DOUBLE
    for place in np.ndindex(made.shape):
        made[place] = dot(lines[0][place].ravel(), lines[1][place].ravel(), kind)
    return Tensor(made, left.dtype, result.index(of_rows.pop()) if of_rows else None)


def _ordered(tensor: Tensor, names: str, result: str, summed: list[str], sizes: dict[str, int]) -> Cells:
    """The cells with an axis for each name of the result and of the sum."""
    wanted = [*result, *summed]
    present = [name for name in wanted if name in names]
    cells = tensor.cells.transpose([names.index(name) for name in present])
    cells = cells.reshape([sizes[name] if name in names else 1 for name in wanted])
    return np.broadcast_to(cells, [sizes[name] for name in wanted])
