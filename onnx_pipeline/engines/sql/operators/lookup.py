"""One value for another by a table of pairs."""

from collections.abc import Mapping

from onnx_pipeline.engines.sql import conditions
from onnx_pipeline.engines.sql.expressions import Expression

__all__ = ["looked_up"]


def looked_up(cell: Expression, table: Mapping[Expression, Expression], default: Expression) -> Expression:
    """The value of the key that `cell` equals, else `default`. A key of NaN is met by a missing value.

    Of a choice between constants, as labels are, each is looked up here.
    """
    if cell.is_constant:
        return table.get(cell, default)
    if cell.op == "case" and all(value.is_constant for value in (*cell.args[1::2], cell.args[-1])):
        arms = [
            (test, table.get(value, default)) for test, value in zip(cell.args[:-1:2], cell.args[1::2], strict=True)
        ]
        return conditions.case(arms, table.get(cell.args[-1], default))
    arms = [
        (conditions.is_missing(cell) if key.value is None else conditions.equals(cell, key), value)
        for key, value in table.items()
    ]
    return conditions.case(arms, default)
