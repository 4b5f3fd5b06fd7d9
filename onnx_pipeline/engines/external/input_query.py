"""The query that a script on the server reads: what passes through it, then one column per place of a model input.

All columns have names of ours: neither the source's nor the model's could be misread by a script's options.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import is_text
from onnx_pipeline.base.rules import is_float
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.engines.base import Task
from onnx_pipeline.models.binding import InputBinding
from onnx_pipeline.models.null_policy import StandIn, stand_ins
from onnx_pipeline.pools.landing import Landing

__all__ = ["InputQuery", "Passed", "input_query"]

_AS_THEY_ARE = {
    pa.bool_(): "BIT", pa.uint8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INT", pa.int64(): "BIGINT",
    pa.float32(): "REAL", pa.float64(): "FLOAT",
}  # fmt: skip
_TEXT = "NVARCHAR(4000)"
"""Longer than any key that the landing table takes, so that what is too long is still refused there."""


@dataclass(frozen=True)
class Passed:
    """A column that passes through the script unchanged."""

    name: str
    kind: str
    """Its T-SQL type."""


@dataclass(frozen=True)
class InputQuery:
    """The rows of a slice for a script."""

    select: sa.Select[Any]
    passed: Sequence[Passed]
    """The marks of the landing, in its order."""
    inputs: Sequence[Sequence[str]]
    """The columns that fill each model input, in the model's order."""


def input_query(task: Task, landing: Landing, *, as_text: bool = False) -> InputQuery:
    """What a script reads of a slice.

    A NULL that something stands in for is replaced here, and a NULL of floats is left to the script. One that has no
    form in the model's dtype gets a value that does not matter: the slice is refused by what landed, before anybody
    sees it.
    With `as_text`, numbers pass through as text, too: for scripts whose own types would change them.
    """
    features = landing.features.subquery("features")
    singles = {bound.tensor.name for bound in task.binding.inputs if not bound.tensor.is_matrix}
    by_name = any(bound.tensor.is_matrix for bound in task.binding.inputs)
    taken = singles if by_name else set[str]()
    passed, columns = [], []
    for place, field in enumerate(landing.marks_schema):
        column, kind = _passing(features.c[field.name], field.type, as_text=as_text)
        passed.append(Passed(f"{_prefix('k', taken)}{place}", kind))
        columns.append(column.label(passed[-1].name))
    stand_in = stand_ins(task.binding, task.nulls)
    inputs: list[list[str]] = []
    number = 0
    for bound in task.binding.inputs:
        names = []
        for value in _values(bound, features, stand_in, task.binding.columns):
            names.append(
                bound.tensor.name if by_name and not bound.tensor.is_matrix else f"{_prefix('x', taken)}{number}"
            )
            columns.append(value.label(names[-1]))
            number += 1
        inputs.append(names)
    return InputQuery(sa.select(*columns).select_from(features), passed, inputs)


def _prefix(letter: str, taken: set[str]) -> str:
    """What no name of a model input begins with."""
    prefix = letter
    while any(name.casefold().startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    return prefix


def _passing(column: sa.ColumnElement[Any], arrow: pa.DataType, *, as_text: bool) -> tuple[sa.ColumnElement[Any], str]:
    """A column in a form that every version of the framework passes on, and its type.

    What is refused by some (datetime2, datetimeoffset, time) or has digits to lose goes as text, which the landing
    table's column reads: https://learn.microsoft.com/sql/machine-learning/python/python-libraries-and-data-types
    """
    if pa.types.is_binary(arrow):
        return sa.cast(column, sa.VARBINARY(8000)), "VARBINARY(8000)"
    if arrow in _AS_THEY_ARE and not as_text:
        return column, _AS_THEY_ARE[arrow]
    if pa.types.is_timestamp(arrow):
        # ISO 8601, whatever the session's language; CAST would write month names of a DATETIME.
        text: sa.ColumnElement[Any] = sa.func.convert(
            sa.literal_column(_TEXT), column, sa.literal_column("126"), type_=sa.Unicode()
        )
        return text, _TEXT
    if is_text(arrow) or not pa.types.is_floating(arrow):
        return sa.cast(column, sa.Unicode(4000)), _TEXT
    # All 17 digits, where CAST would write 6.
    digits = sa.func.convert(sa.literal_column(_TEXT), column, sa.literal_column("3"), type_=sa.Unicode())
    return digits, _TEXT


def _values(
    bound: InputBinding, features: sa.FromClause, stand_in: dict[str, StandIn], dtypes: dict[str, str]
) -> Iterator[sa.ColumnElement[Any]]:
    """The values of each place of a model input."""
    nothing = _nothing(bound.tensor.dtype)
    for place, name in enumerate(bound.columns):
        if place in bound.unread:
            yield _typed(nothing, bound.tensor.dtype)
            continue
        column, dtype = features.c[name], dtypes[name]
        value = stand_in.get(name)
        if value is None and not is_float(dtype):
            value = _nothing(dtype)
        # NaN, which T-SQL does not have, is what NULL of floats becomes anyway.
        yield column if value is None or value != value else sa.func.coalesce(column, _typed(value, dtype))  # noqa: PLR0124


def _nothing(dtype: str) -> StandIn:
    return "" if dtype == "string" else False if dtype == "bool" else 0


def _typed(value: StandIn, dtype: str) -> sa.ColumnElement[Any]:
    if dtype == "string":
        # Of its own length: a cast to a text without one would make a LOB of the column.
        return sa.literal(value)
    return sa.cast(sa.literal(value), column_type_of_onnx(dtype, tensor="input").sql())
