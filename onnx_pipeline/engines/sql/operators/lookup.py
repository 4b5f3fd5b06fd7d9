"""One value for another by a table of pairs."""

from collections.abc import Mapping, Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["looked_up", "mapped"]


def looked_up(cell: Expression, table: Mapping[Expression, Expression], default: Expression) -> Expression:
    """The value of the key that `cell` equals, else `default`. A key of NaN is met by a missing value.

    Of a choice between constants, as labels are, each is looked up here.
    """
    if cell.is_constant:
        return table.get(cell, default)
    if cell.op == "case" and all(value.is_constant for value in algebra.values_of(cell)):
        arms = [
            (test, table.get(value, default)) for test, value in zip(cell.args[:-1:2], cell.args[1::2], strict=True)
        ]
        return conditions.case(arms, table.get(cell.args[-1], default))
    arms = [
        (conditions.is_missing(cell) if key.value is None else conditions.equals(cell, key), value)
        for key, value in table.items()
    ]
    return conditions.case(arms, default)


def mapped(node: Node, texts: Sequence[Expression], numbers: Sequence[Expression]) -> Tensor:
    """Texts to whole numbers, or the other way, by the input's elements. Of what is given twice the last counts."""
    if node[0].dtype == object:
        missing = algebra.integer(node.attribute("default_int64", -1))
        table = dict(zip(texts, numbers, strict=True))
        return node[0].map(lambda cell: looked_up(cell, table, missing), np.int64)
    unknown = algebra.text(node.attribute("default_string", "_Unused"))
    table = dict(zip(numbers, texts, strict=True))
    return node[0].map(lambda cell: looked_up(cell, table, unknown), object)
