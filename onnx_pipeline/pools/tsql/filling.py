"""Rows into an empty staging table: many by bulk copy, few by INSERT with bound values.

A bulk copy opens connections of its own, which takes longer than all else that a small partition needs.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.tsql.session import Session

__all__ = ["fill"]

_VALUES = 1_000
"""Of one statement: it takes 2,098, and the time to read them grows faster than their number."""
_STATEMENTS = 2


def fill(
    session: Session, table: sa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], rows: int,
    of_rows: Callable[[], Session] | None,
) -> None:  # fmt: skip
    """Add the rows, about so many; `of_rows` opens the session of a bulk copy, where that is not to be `session`."""
    if _are_few(schema, rows):
        _insert(session, table, batches)
    elif of_rows is None:
        session.copy(table, schema, batches)
    else:
        with of_rows() as other:
            other.copy(table, schema, batches)


def _are_few(schema: pa.Schema, rows: int) -> bool:
    """Whether they are few, and of types that every driver binds as they are."""
    return rows * len(schema) <= _STATEMENTS * _VALUES and all(_is_plain(field.type) for field in schema)


def _is_plain(arrow: pa.DataType) -> bool:
    return bool(
        pa.types.is_signed_integer(arrow)
        or pa.types.is_float32(arrow)
        or pa.types.is_float64(arrow)
        or pa.types.is_string(arrow)
        or pa.types.is_large_string(arrow)
        or pa.types.is_boolean(arrow)
    )


def _insert(session: Session, table: sa.Table, batches: Iterator[pa.RecordBatch]) -> None:
    for batch in batches:
        room = max(1, _VALUES // batch.num_columns)
        for start in range(0, batch.num_rows, room):
            session.execute(table.insert().values(batch.slice(start, room).to_pylist()))
