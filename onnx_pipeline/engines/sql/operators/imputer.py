"""Imputer: https://onnx.ai/onnx/operators/onnx_aionnxml_Imputer.html"""

import math

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import exact, rows_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["imputer"]


def imputer(node: Node) -> Tensor:
    """`[N, F]` with what equals the replaced value, be it NaN, replaced; by a value per column, or the first."""
    suffix, single = ("floats", "float") if node[0].kind.is_float else ("int64s", "int64")
    values = node.attribute(f"imputed_value_{suffix}") or []
    if not values:
        raise node.refused(f"it has no imputed_value_{suffix}, which an input of {node[0].dtype} needs")
    replaced = node.attribute(f"replaced_value_{single}", 0)
    columns = len(rows_of(node))
    fills = values if len(values) == columns else values[:1] * columns
    found = exact(node[0])
    cells = [_imputed(cell, replaced, fill) for cell, fill in zip(found, fills, strict=True)]
    return Tensor.of_cells([cells], found.dtype)


def _imputed(cell: Expression, replaced: float, fill: float) -> Expression:
    value = algebra.constant(fill, cell.kind)
    if math.isnan(replaced):
        return conditions.filled(cell, value)
    return conditions.case([(conditions.equals(cell, algebra.constant(replaced, cell.kind)), value)], cell)
