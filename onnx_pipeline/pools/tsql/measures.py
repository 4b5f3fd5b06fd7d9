"""What tells whether a table still holds the rows that were judged: counts, and sums of every column.

Floating-point sums depend on their order, so they are compared within a fraction of the sum of absolute values.
"""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.tsql.checksums import number_of

__all__ = ["differences", "measure"]

_TOLERANCE = 1e-9


def measure(rows: sa.FromClause, schema: pa.Schema) -> sa.Select[Any]:
    """The count, then per column of `schema` the values present, their sum and the sum of their absolute values."""
    measures: list[sa.ColumnElement[Any]] = [sa.func.count_big(sa.text("*"))]
    for field in schema:
        column = rows.c[field.name]
        measures.append(sa.func.count_big(column))
        number = number_of(column, field.type)
        if number is not None:
            measures += [sa.func.sum(number), sa.func.sum(sa.func.abs(number))]
    labelled = [each.label(f"measure_{index}") for index, each in enumerate(measures)]
    return sa.select(*labelled).select_from(rows)


def differences(schema: pa.Schema, judged: Sequence[Any], found: Sequence[Any]) -> list[str]:
    """Where two answers to `measure` differ, one sentence each."""
    before, now = iter(judged), iter(found)

    def pair() -> tuple[float, float]:
        return float(next(before) or 0), float(next(now) or 0)

    rows, there = pair()
    problems = [] if rows == there else [f"{rows:,.0f} rows were judged and {there:,.0f} are there"]
    for field in schema:
        present, still = pair()
        if present != still:
            problems.append(f"{field.name}: {present:,.0f} values were judged and {still:,.0f} are there")
        if number_of(sa.column(field.name), field.type) is None:
            continue
        total, total_now = pair()
        size, size_now = pair()
        within = _TOLERANCE * max(size, size_now)
        if present == still and not (
            math.isclose(total, total_now, rel_tol=0, abs_tol=within)
            and math.isclose(size, size_now, rel_tol=0, abs_tol=within)
        ):
            problems.append(f"{field.name}: the values judged sum to {total:g}, those that are there to {total_now:g}")
    return problems
