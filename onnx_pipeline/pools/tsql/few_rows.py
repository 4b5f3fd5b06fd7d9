"""Few rows by INSERT with bound values: bulk copy opens a connection of its own, which takes longer than all else that a
small partition needs.
"""

from collections.abc import Iterator

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.pools.tsql.session import Session

__all__ = ["are_few", "insert"]

_VALUES = 1_000
"""Of one statement: it takes 2,098, and the time to read them grows faster than their number."""
_STATEMENTS = 2


def are_few(schema: pa.Schema, rows: int) -> bool:
    """Whether so many rows are few, of types that every driver binds as they are."""
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


def insert(session: Session, table: sa.Table, batches: Iterator[pa.RecordBatch]) -> None:
    """Add the rows to an empty table, of however many there are."""
    for batch in batches:
        names = batch.schema.names
        room = max(1, _VALUES // len(names))
        for start in range(0, batch.num_rows, room):
            session.execute(table.insert().values(batch.slice(start, room).to_pylist()))
