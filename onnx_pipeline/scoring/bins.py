"""The bins of `statistics` in SQL that every pool reads: what a number counts as, and what a bin sums up to.

A bin is the upper half of a float32's bit pattern: sign, exponent and the first seven digits after the point. SQL has
no bits of a number, so they are computed: the exponent from a logarithm, set right by comparing with the power of two
itself, and the digits from the quotient, which is exact. Each step is a derived table, so that none is written twice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

__all__ = ["SCALE", "Bin", "binned", "bins_of"]

SCALE = 2.0**-40
"""By which the pool makes sums smaller, without changing a digit: a billion of the largest doubles still have one."""

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST_NORMAL = 2.0**-126
_NO_FLOAT = 2.0**-150
"""Half of the smallest float32: this and what is nearer to zero is zero as a float32."""
_NOTHING = 1e-290
"""What is smaller, made smaller still, might be no number any more, which some servers refuse to compute."""
_NO_SQUARE = 1e-150
_HUGE = 1e150
"""What is larger has no square that could be added to others."""


@dataclass(frozen=True)
class Bin:
    """The values of one bin, measured from its edge next to zero."""

    code: int
    count: int
    total: float
    squares: float
    minimum: float
    maximum: float
    huge: int
    """Values so far from the edge that they have no square."""


def binned(rows: sa.FromClause, column: str, arrow: pa.DataType) -> sa.Select[Any]:
    """Per bin of a column of numbers: `code`, `n`, `total`, `squares`, `low`, `high` and `huge`."""
    value = rows.c[column]
    # Only a double can be what no float32 is.
    single = _single(value) if pa.types.is_float64(arrow) else sa.cast(value, sa.REAL)
    numbers = (
        sa.select(sa.cast(value, sa.Double).label("v"), sa.cast(single, sa.Double).label("x"))
        .select_from(rows)
        .where(value.is_not(None))
        .subquery("numbers")
    )
    sizes = sa.select(numbers.c.v, numbers.c.x, sa.func.abs(numbers.c.x, type_=sa.Double).label("a")).subquery("sizes")
    normal = sizes.c.a >= _number(_SMALLEST_NORMAL)
    # Of a denormal, which has none, any exponent will do.
    guess = sa.func.floor(sa.func.log10(sizes.c.a) * _number(float(np.log2(10.0))))
    guessed = sa.select(*sizes.c, sa.cast(sa.case((normal, guess), else_=_number(0.0)), sa.Double).label("e")).subquery(
        "guessed"
    )
    below, above = _power(guessed.c.e), _power(guessed.c.e + _number(1.0))
    exponent = sa.case(
        (below > guessed.c.a, guessed.c.e - _number(1.0)),
        (above <= guessed.c.a, guessed.c.e + _number(1.0)),
        else_=guessed.c.e,
    )
    exponents = sa.select(guessed.c.v, guessed.c.x, guessed.c.a, sa.cast(exponent, sa.Double).label("e")).subquery(
        "exponents"
    )
    powers = sa.select(*exponents.c, _power(exponents.c.e).label("p")).subquery("powers")
    normal = powers.c.a >= _number(_SMALLEST_NORMAL)
    digits = sa.func.floor((powers.c.a.op("/")(powers.c.p) - _number(1.0)) * _number(128.0))
    half = sa.case(
        (normal, (powers.c.e + _number(127.0)) * _number(128.0) + digits),
        else_=sa.func.floor(powers.c.a * _number(2.0**133)),
    )
    edge = sa.case(
        (normal, powers.c.p * (_number(1.0) + digits * _number(1 / 128))),
        else_=sa.func.floor(powers.c.a * _number(2.0**133)) * _number(2.0**-133),
    )
    halves = sa.select(powers.c.v, powers.c.x, half.label("half"), edge.label("edge")).subquery("halves")
    negative = halves.c.x < _number(0.0)
    code = sa.case((negative, _number(32767.0) - halves.c.half), else_=_number(32768.0) + halves.c.half)
    distance = sa.case((negative, halves.c.v + halves.c.edge), else_=halves.c.v - halves.c.edge)
    coded = sa.select(
        halves.c.v, sa.cast(code, sa.Integer).label("code"), sa.cast(distance, sa.Double).label("d")
    ).subquery("coded")
    far = sa.func.abs(coded.c.d)
    total = sa.case((far < _number(_NOTHING), _number(0.0)), else_=coded.c.d * _number(SCALE))
    square = sa.case(
        (far < _number(_NO_SQUARE), _number(0.0)),
        (far > _number(_HUGE), _number(0.0)),
        else_=coded.c.d * coded.c.d,
    )
    huge = sa.case((far > _number(_HUGE), _integer(1)), else_=_integer(0))
    return sa.select(
        coded.c.code, sa.func.count().label("n"), sa.func.sum(total).label("total"),
        sa.func.sum(square).label("squares"), sa.func.min(coded.c.v).label("low"),
        sa.func.max(coded.c.v).label("high"), sa.func.sum(huge).label("huge"),
    ).group_by(coded.c.code)  # fmt: skip


def bins_of(found: pa.Table) -> list[Bin]:
    """The answer to `binned`."""
    return [
        Bin(
            int(row["code"]), int(row["n"]), float(row["total"]) / SCALE, float(row["squares"]),
            float(row["low"]), float(row["high"]), int(row["huge"]),
        )
        for row in found.to_pylist()
    ]  # fmt: skip


def _single(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A double as a float32: some servers refuse one that is too large or too small, where numpy rounds."""
    return sa.case(
        (value > _number(_LARGEST), _number(_LARGEST)),
        (value < _number(-_LARGEST), _number(-_LARGEST)),
        (sa.func.abs(value) <= _number(_NO_FLOAT), _number(0.0)),
        else_=sa.cast(value, sa.REAL),
    )


def _power(exponent: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.power(_number(2.0), exponent, type_=sa.Double)


def _number(value: float) -> sa.ColumnElement[Any]:
    """With an exponent, which makes it a double everywhere and no decimal."""
    text = repr(value)
    return sa.literal_column(text if "e" in text else f"{text}e0", sa.Double)


def _integer(value: int) -> sa.ColumnElement[Any]:
    return sa.literal_column(str(value), sa.Integer)
