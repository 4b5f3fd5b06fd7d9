"""Listed values as a column's type has them: which spelling names which value, and which names none."""

import datetime
import decimal
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.arrow import is_text
from onnx_pipeline.base.errors import SpecError

__all__ = ["read"]


def read(keys: Sequence[str], arrow: pa.DataType, column: str) -> pa.Array:
    """The keys as values of the column's type; SpecError, naming the first that is none."""
    kind = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
    if is_text(kind):
        # As `Pool.exact_text` gives them.
        return pa.array([key.rstrip(" ") for key in keys], kind)
    reader, spelled = _reader_of(kind, column)

    def value(key: str) -> Any:
        try:
            return pa.scalar(reader(key), kind).as_py()
        except (ValueError, OverflowError, ArithmeticError, pa.ArrowException) as error:
            raise SpecError(
                f"partitions.values: {key!r} cannot be read as {kind}, the type of column {column!r}, where {spelled}"
            ) from error

    return pa.array([value(key) for key in keys], kind)


def _reader_of(kind: pa.DataType, column: str) -> tuple[Callable[[str], Any], str]:
    for matches, reader, spelled in _READERS:
        if matches(kind):
            return reader, spelled
    raise SpecError(
        f"partitions.column: {column!r} is {kind}, which has no listed values; text has, and whole numbers, decimals, "
        "fractions, true and false, dates and times. Cast it to text in a `query`"
    )


def _spelled(pattern: str, make: Callable[[str], Any]) -> Callable[[str], Any]:
    form = re.compile(pattern, re.ASCII)

    def reader(key: str) -> Any:
        if not form.fullmatch(key):
            raise ValueError(key)
        return make(key)

    return reader


_WHOLE = r"-?\d+"

_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any], str], ...] = (
    (pa.types.is_boolean, _spelled("true|false|True|False|1|0", lambda key: key.lower() in ("true", "1")),
     "a value is `true` or `false`"),
    (pa.types.is_integer, _spelled(_WHOLE, int), "a whole number is written as 7 or -7"),
    (pa.types.is_decimal, _spelled(_WHOLE + r"(?:\.\d+)?", decimal.Decimal), "a number is written as 7, -7 or 1.50"),
    (pa.types.is_floating, _spelled(_WHOLE + r"(?:\.\d+)?(?:[eE][+-]?\d+)?", float),
     "a number is written as 7, -0.5 or 1e6"),
    (pa.types.is_date, _spelled(r"\d{4}-\d\d-\d\d", datetime.date.fromisoformat), "a day is written as 2026-01-31"),
    (pa.types.is_timestamp, _spelled(r"\d{4}-\d\d-\d\d(?:[ T]\S+)?", datetime.datetime.fromisoformat),
     "a time is written as 2026-01-31 12:30:00"),
    (pa.types.is_time, datetime.time.fromisoformat, "a time is written as 12:30:00"),
)  # fmt: skip
"""Of each kind of types: what reads a key, and how a key is written."""
