"""Whether rows arrived in a table as they were sent.

One driver was seen to fill only the last column, without an error, when the server answered its question about the
table otherwise than expected. So a bulk load's row count, and per column the values present and a sum over them, are
computed on both sides: by numpy on the way out, by one aggregate in the pool.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.base.arrow import to_numpy

__all__ = ["Checksum", "checked_columns", "number_of"]

_TOLERANCE = 1e-6
"""Relative to the sum of absolute values: floating-point sums depend on their order."""

_SCALE = 2.0**-40
"""A power of two, which changes no digit: the sum of a billion of the largest FLOATs is still one."""

_OCTETS_OF_AB: sa.ColumnElement[Any] = sa.literal_column("DATALENGTH(N'ab')")
"""4 where text is UTF-16, as on SQL Server; 2 on servers that compute with UTF-8."""

_EPOCH: sa.ColumnElement[Any] = sa.literal_column("CAST('1970-01-01' AS DATE)")


def checked_columns(key: Sequence[str], names: Sequence[str]) -> list[str]:
    """The key, and the first and the last of the other columns."""
    others = [name for name in names if name not in key]
    return list(dict.fromkeys((*key, *others[:1], *others[-1:])))


class Checksum:
    """Count and sums of some columns of the batches that went by.

    `utf8` says whether the pool's columns hold text as UTF-8 or as UTF-16; None, that the pool is to be asked.
    """

    def __init__(self, schema: pa.Schema, columns: Sequence[str], *, utf8: bool | None = None) -> None:
        self._utf8 = utf8
        self._types = {name: schema.field(name).type for name in columns}
        self._present = dict.fromkeys(columns, 0)
        self._sums = dict.fromkeys(columns, 0.0)
        self._sizes = dict.fromkeys(columns, 0.0)
        self._octets = dict.fromkeys(columns, 0.0)
        """Of text, its length in UTF-8; its sum is that in UTF-16."""
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        for name, arrow in self._types.items():
            column = batch.column(name)
            column = column.drop_null() if column.null_count else column
            self._present[name] += len(column)
            if pa.types.is_string(arrow):
                self._octets[name] += float(pc.sum(pc.binary_length(column)).as_py() or 0)
            values = _measured(column, arrow)
            if values is not None and len(values):
                self._sums[name] += float(values.sum())
                self._sizes[name] += float(np.abs(values).sum())

    def nulls(self, columns: Sequence[str]) -> int:
        """NULLs that were sent in some of the columns, which are among those that are measured."""
        return sum(self.rows - self._present[name] for name in columns)

    def statement(self, table: sa.FromClause) -> sa.Select[Any]:
        """What the pool computes: the count, then per column the values present and their sum."""
        measures: list[sa.ColumnElement[Any]] = [sa.func.count_big(sa.text("*"))]
        if self._utf8 is None:
            measures.insert(0, _OCTETS_OF_AB)
        for name, arrow in self._types.items():
            column: sa.ColumnElement[Any] = sa.column(name)
            measures.append(sa.func.count_big(column))
            number = number_of(column, arrow)
            if number is not None:
                measures.append(sa.func.sum(number))
        labelled = [measure.label(f"measure_{index}") for index, measure in enumerate(measures)]
        return sa.select(*labelled).select_from(table)

    def differences(self, found: Sequence[Any]) -> list[str]:
        """Where the pool's answer to `statement` is not what was sent, one sentence each."""
        answers = iter(found)
        utf8 = int(next(answers)) == len("ab") if self._utf8 is None else self._utf8
        rows = int(next(answers))
        problems = [] if rows == self.rows else [f"{self.rows:,} rows were sent and {rows:,} arrived"]
        for name, arrow in self._types.items():
            present = int(next(answers))
            if present != self._present[name]:
                problems.append(f"{name}: {self._present[name]:,} values were sent and {present:,} arrived")
            if number_of(sa.column(name), arrow) is None:
                continue
            arrived = float(next(answers) or 0)
            sent = self._octets[name] if utf8 and pa.types.is_string(arrow) else self._sums[name]
            within = self._sizes[name] * _TOLERANCE
            if present == self._present[name] and not math.isclose(arrived, sent, rel_tol=0, abs_tol=within):
                problems.append(f"{name}: the values sent sum to {sent:g}, those that arrived to {arrived:g}")
        return problems


def _measured(column: pa.Array, arrow: pa.DataType) -> npt.NDArray[Any] | None:
    """`[N]` values without NULLs → `[M]` float64: what is summed of them; None where nothing is."""
    if pa.types.is_boolean(arrow):
        return np.array([float(pc.sum(column).as_py() or 0)])
    if pa.types.is_string(arrow):
        return np.array([2.0 * _utf16_units(column)])
    if pa.types.is_decimal(arrow):
        column = column.cast(pa.float64())
    elif pa.types.is_timestamp(arrow):
        column = pc.floor_temporal(column.cast(pa.timestamp("us")), unit="day").cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_date(arrow):
        column = column.cast(pa.int32())
    elif not (pa.types.is_integer(arrow) or pa.types.is_floating(arrow)):
        return None
    values = to_numpy(column).astype(np.float64)
    return values * _SCALE if _scaled(arrow) else values


def _utf16_units(column: pa.Array) -> int:
    """One for each character, and another for each that UTF-8 spells in four bytes."""
    characters = int(pc.sum(pc.utf8_length(column)).as_py() or 0)
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return characters
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return characters + int(np.count_nonzero(np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]] >= 0xF0))


def _scaled(arrow: pa.DataType) -> bool:
    """Whether values may be so large that a sum of them is none."""
    return bool(pa.types.is_float64(arrow) or pa.types.is_decimal(arrow))


def number_of(column: sa.ColumnElement[Any], arrow: pa.DataType) -> sa.ColumnElement[Any] | None:
    """What the pool sums for a column of that type, as FLOAT."""
    if pa.types.is_string(arrow):
        # Bytes: LEN would not count trailing blanks.
        number: sa.ColumnElement[Any] = sa.func.datalength(column)
    elif pa.types.is_boolean(arrow):
        number = sa.cast(column, sa.Integer)
    elif pa.types.is_date(arrow):
        number = sa.func.datediff(sa.text("day"), _EPOCH, column)
    elif pa.types.is_timestamp(arrow):
        # A time with zone is taken at UTC, as Arrow keeps it.
        at_utc = sa.func.switchoffset(column, sa.literal_column("'+00:00'")) if arrow.tz is not None else column
        number = sa.func.datediff(sa.text("day"), _EPOCH, at_utc)
    elif pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        number = column
    else:
        return None
    summed = sa.cast(number, sa.Double)
    return summed * sa.literal_column(repr(_SCALE)) if _scaled(arrow) else summed
