"""Whether rows arrived in a table as they were sent.

One driver was seen to fill only the last column, without an error, when the server answered its question about the
table otherwise than expected. So a bulk load's row count, and per column the values present and a sum over them, are
computed on both sides: by numpy on the way out, by one aggregate in the pool.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

__all__ = ["Checksum", "checked_columns"]

_TOLERANCE = 1e-6
"""Relative to the sum of absolute values: floating-point sums depend on their order."""

_EPOCH: sa.ColumnElement[Any] = sa.literal_column("CAST('1970-01-01' AS DATE)")


def checked_columns(key: Sequence[str], names: Sequence[str]) -> list[str]:
    """The key, and the first and the last of the other columns."""
    others = [name for name in names if name not in key]
    return list(dict.fromkeys((*key, *others[:1], *others[-1:])))


class Checksum:
    """Count and sums of some columns of the batches that went by."""

    def __init__(self, schema: pa.Schema, columns: Sequence[str], *, utf8: bool = False) -> None:
        self._utf8 = utf8
        self._types = {name: schema.field(name).type for name in columns}
        self._present = dict.fromkeys(columns, 0)
        self._sums = dict.fromkeys(columns, 0.0)
        self._sizes = dict.fromkeys(columns, 0.0)
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        for name, arrow in self._types.items():
            column = batch.column(name)
            self._present[name] += len(column) - column.null_count
            values = _measured(column, arrow, utf8=self._utf8)
            if values is not None and len(values):
                self._sums[name] += float(values.sum())
                self._sizes[name] += float(np.abs(values).sum())

    def statement(self, table: sa.FromClause) -> sa.Select[Any]:
        """What the pool computes: the count, then per column the values present and their sum."""
        measures: list[sa.ColumnElement[Any]] = [sa.func.count_big(sa.text("*"))]
        for name, arrow in self._types.items():
            column = table.c[name]
            measures.append(sa.func.count_big(column))
            number = _number(column, arrow)
            if number is not None:
                measures.append(sa.func.sum(number))
        labelled = [measure.label(f"measure_{index}") for index, measure in enumerate(measures)]
        return sa.select(*labelled).select_from(table)

    def differences(self, found: Sequence[Any]) -> list[str]:
        """Where the pool's answer to `statement` is not what was sent, one sentence each."""
        answers = iter(found)
        rows = int(next(answers))
        problems = [] if rows == self.rows else [f"{self.rows:,} rows were sent and {rows:,} arrived"]
        for name, arrow in self._types.items():
            present = int(next(answers))
            if present != self._present[name]:
                problems.append(f"{name}: {self._present[name]:,} values were sent and {present:,} arrived")
            if _number(sa.column(name), arrow) is None:
                continue
            total = float(next(answers) or 0)
            within = max(1.0, self._sizes[name]) * _TOLERANCE
            if present == self._present[name] and not math.isclose(total, self._sums[name], rel_tol=0, abs_tol=within):
                problems.append(f"{name}: the values sent sum to {self._sums[name]:g}, those that arrived to {total:g}")
        return problems


def _measured(column: pa.Array, arrow: pa.DataType, *, utf8: bool) -> Any:
    """`[N]` values → `[M]` float64: what is summed of those that are not NULL; None where nothing is."""
    column = column.drop_null() if column.null_count else column
    if pa.types.is_boolean(arrow):
        return np.array([float(pc.sum(column).as_py() or 0)])
    if pa.types.is_string(arrow):
        if utf8:
            return np.array([float(pc.sum(pc.binary_length(column)).as_py() or 0)])
        return np.array([2.0 * _utf16_units(column)])
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow):
        return np.frombuffer(
            column.buffers()[1] or b"", dtype=arrow.to_pandas_dtype(), count=len(column),
            offset=column.offset * (arrow.bit_width // 8),
        ).astype(np.float64)  # fmt: skip
    if pa.types.is_decimal(arrow):
        return np.array(column.cast(pa.float64()).to_pylist(), dtype=np.float64)
    if pa.types.is_date(arrow) or pa.types.is_timestamp(arrow):
        days = pc.floor_temporal(column, unit="day") if pa.types.is_timestamp(arrow) else column
        return np.array(days.cast(pa.date32()).cast(pa.int32()).to_pylist(), dtype=np.float64)
    return None


def _utf16_units(column: pa.Array) -> int:
    characters = int(pc.sum(pc.utf8_length(column)).as_py() or 0)
    if int(pc.sum(pc.binary_length(column)).as_py() or 0) == characters:
        return characters
    return sum(len(text.encode("utf-16-le")) // 2 for text in column.to_pylist())


def _number(column: sa.ColumnElement[Any], arrow: pa.DataType) -> sa.ColumnElement[Any] | None:
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
    elif pa.types.is_time(arrow) or not (
        pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow)
    ):
        return None
    else:
        number = column
    return sa.cast(number, sa.Double)
