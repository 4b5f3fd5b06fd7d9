"""OneHotEncoder: https://onnx.ai/onnx/operators/onnx_aionnxml_OneHotEncoder.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/onehotencoder.cc
"""

from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import exact
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["one_hot_encoder"]

_ZERO = algebra.constant(0, Kind.FLOAT)
_ONE = algebra.constant(1, Kind.FLOAT)


def one_hot_encoder(node: Node) -> Tensor:
    """The input's shape with an axis of categories behind it; of a category given twice the last counts.

    With `zeros=0` a value that is no category fails the statement, as it fails in ONNX Runtime.
    """
    texts = node.attribute("cats_strings") or []
    categories = texts or node.attribute("cats_int64s") or []
    if bool(texts) != (node[0].dtype == object):
        raise node.refused(f"its categories are {'texts' if texts else 'numbers'}, and its input is not")
    places = {category: place for place, category in enumerate(categories)}
    known = node.attribute("zeros", 1) != 0
    found = exact(node[0])
    cells = np.empty((*found.shape, len(categories)), object)
    for where, cell in zip(np.ndindex(found.shape), found, strict=True):
        cells[where] = _encoded(node, cell, categories, places, known)
    return Tensor(cells, np.dtype(np.float32), found.rows)


def _encoded(
    node: Node, cell: Expression, categories: Sequence[str | int], places: dict[str | int, int], known: bool
) -> list[Expression]:
    if not known:
        is_one = conditions.any_of(*(_equals(cell, category) for category in places))
        cell = conditions.or_fails(cell, is_one, f"is no category of {node.described}")
    return [
        conditions.case([(_equals(cell, category), _ONE)], _ZERO) if places[category] == place else _ZERO
        for place, category in enumerate(categories)
    ]


_WHOLE = {Kind.FLOAT: 2**24, Kind.DOUBLE: 2**53}
"""From here on every number is whole, and some have no form."""


def _equals(cell: Expression, category: str | int) -> Expression:
    """Whether a value is a category; a float is cut towards zero for it."""
    if isinstance(category, str):
        return conditions.equals(cell, algebra.text(category))
    if not cell.kind.is_float:
        return conditions.equals(cell, algebra.integer(category))
    same = algebra.constant(category, cell.kind)
    if abs(category) >= _WHOLE[cell.kind]:
        return conditions.equals(cell, same) if same.value == category else conditions.FALSE
    above = conditions.below(cell, algebra.constant(category + 1, cell.kind))
    below = conditions.beyond(cell, algebra.constant(category - 1, cell.kind))
    if category > 0:
        return conditions.all_of(conditions.at_least(cell, same), above)
    if category < 0:
        return conditions.all_of(below, conditions.at_most(cell, same))
    return conditions.all_of(below, above)
