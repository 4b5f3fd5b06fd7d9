"""MatMul and Gemm: products of matrices. https://onnx.ai/onnx/operators/onnx__MatMul.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.elementwise import together
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["gemm", "matmul"]


def matmul(node: Node) -> Tensor:
    """By numpy's rules. Sums are taken in double precision."""
    return product(node, node[0], node[1])


def gemm(node: Node) -> Tensor:
    """`alpha * A * B + beta * C`, with A and B transposed where asked for."""
    left, right = (
        transposed(node[place]) if node.attribute(name, 0) else node[place]
        for place, name in enumerate(("transA", "transB"))
    )
    made = scaled(product(node, left, right), node.attribute("alpha", 1.0))
    offset = node.input(2)
    if offset is None:
        return made
    return together(_sum, made, scaled(offset, node.attribute("beta", 1.0)))


def _sum(product: Expression, offset: Expression) -> Expression:
    terms = product.args if product.op == "total" else (product,)
    return algebra.total([*terms, offset], product.kind)


def scaled(tensor: Tensor, factor: float) -> Tensor:
    """Every cell times a constant."""
    return tensor.map(lambda cell: algebra.multiply(cell, algebra.constant(factor, cell.kind)))


def transposed(tensor: Tensor) -> Tensor:
    """A matrix with its axes exchanged."""
    rows = None if tensor.rows is None else 1 - tensor.rows
    return Tensor(tensor.cells.T, tensor.dtype, rows)


def product(node: Node, left: Tensor, right: Tensor) -> Tensor:
    """The product of two tensors. Raises NotCompilableError where rows would meet each other."""
    a, a_rows = (left.cells[None], _moved(left, 1)) if left.cells.ndim == 1 else (left.cells, left.rows)
    b, b_rows = (right.cells[:, None], right.rows) if right.cells.ndim == 1 else (right.cells, right.rows)
    rank = max(a.ndim, b.ndim)
    a_rows = None if a_rows is None else a_rows + rank - a.ndim
    b_rows = None if b_rows is None else b_rows + rank - b.ndim
    if rank - 1 == a_rows or (b_rows == rank - 2 and b_rows is not None):
        raise node.refused(f"it sums over the rows of {left.described} and {right.described}")
    found = {axis for axis in (a_rows, b_rows) if axis is not None}
    if len(found) > 1:
        raise node.refused(f"the rows of {left.described} meet those of {right.described}")
    if a.shape[-1] != b.shape[-2]:
        raise node.refused(f"{left.described} and {right.described} do not fit")
    rows = found.pop() if found else None
    kind = Kind.INTEGER if left.kind is Kind.INTEGER else Kind.DOUBLE
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if rows is not None and rows < rank - 2 and outer[rows] != 1:
        raise node.refused("a constant has a value for each of a certain number of rows")
    a = np.broadcast_to(a, outer + a.shape[-2:])
    b = np.broadcast_to(b, outer + b.shape[-2:])
    made = np.empty((*outer, a.shape[-2], b.shape[-1]), object)
    for place in np.ndindex(made.shape):
        line, column = a[place[:-1]], b[(*place[:-2], slice(None), place[-1])]
        made[place] = dot(line, column, kind)
    if right.cells.ndim == 1:
        made = made[..., 0]
    if left.cells.ndim == 1:
        axis = -1 if right.cells.ndim == 1 else -2
        made = np.squeeze(made, axis)
        rows = None if rows is None else rows - (rows > made.ndim + axis)
    return Tensor(made, left.dtype, rows)


def _moved(tensor: Tensor, by: int) -> int | None:
    return None if tensor.rows is None else tensor.rows + by


def dot(left: "np.ndarray[tuple[int], np.dtype[np.object_]]", right: object, kind: Kind = Kind.DOUBLE) -> Expression:
    """The sum of the products of two lists of cells."""
    wide = algebra.as_double if kind is Kind.DOUBLE else algebra.as_integer
    return algebra.total(
        [algebra.multiply(wide(a), wide(b)) for a, b in zip(left, right, strict=True)],  # type: ignore[call-overload]
        kind,
    )
