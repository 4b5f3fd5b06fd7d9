"""What the operators of ai.onnx.ml read: rows of features, in float32 whatever they came as."""

from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["exact", "features_of", "per_column", "rows_of"]


def rows_of(node: Node, place: int = 0) -> list[Expression]:
    """The cells of an input `[N, F]`.

    Raises NotCompilableError for another shape: ONNX Runtime takes `[N]` for one row of N features.
    """
    found = node[place]
    if found.cells.ndim != 2 or found.rows != 0:
        raise node.refused(f"its input {place} has the shape {found.described}, and [N, F] is what has a form in SQL")
    return list(found)


def features_of(node: Node) -> list[Expression]:
    """The cells of the first input `[N, F]` in float32, as ONNX Runtime casts integers and doubles."""
    return [algebra.narrow(cell) for cell in rows_of(node)]


def exact(tensor: Tensor) -> Tensor:
    """Elements of float32 rounded to it, where they are compared or copied: sums are kept in double precision."""
    return tensor.map(algebra.narrow) if tensor.dtype == np.float32 else tensor


def per_column(node: Node, name: str, values: Sequence[float], columns: int) -> list[float]:
    """One value per column, or one for all."""
    if len(values) not in (1, columns):
        raise node.refused(f"{name} has {len(values)} values, and its input {columns} columns")
    return list(values) * columns if len(values) == 1 else list(values)
