"""Where a slice's predictions lie before they are loaded: in this process's reach as a stream, or stored already.

Never a SELECT: a load that is tried again would run it again, and load rows that nobody judged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from onnx_pipeline.base.errors import StagingError

__all__ = ["Rows", "StagedRows", "StoredFiles", "StoredRows", "StoredTable", "no_rows", "row_bytes"]

_BATCH_ROWS = 65_536
_TEXT_BYTES = 32


@dataclass(frozen=True)
class StagedRows:
    """Rows that pass through this process."""

    open: Callable[[], pa.RecordBatchReader]
    """Opens the rows, key and output columns, from their first one: once per attempt, and one at a time, before the next
    slice is asked for."""
    keys_ascend: bool
    """Whether the keys were seen to be strictly ascending, and so are unique without asking the pool."""
    bytes: int = 0
    """Size of the staged file, which is about the size of the rows."""


@dataclass(frozen=True)
class StoredFiles:
    """Rows in Parquet files that this machine reads: key and output columns, and whatever else they hold."""

    files: tuple[Path, ...]
    rows: int
    """As many as were judged."""

    @classmethod
    def within(cls, folder: Path, rows: int) -> "StoredFiles":
        """All Parquet files of a folder."""
        return cls(tuple(sorted(folder.glob("*.parquet"))), rows)

    @property
    def bytes(self) -> int:
        """Size of the files; StagingError where one is gone."""
        try:
            return sum(file.stat().st_size for file in self.files)
        except OSError as error:
            raise _unreadable(error) from error

    def check(self) -> None:
        """Raises StagingError where the files do not hold the rows that were judged."""
        import pyarrow.parquet as pq

        try:
            found = sum(pq.read_metadata(file).num_rows for file in self.files)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(error) from error
        if found != self.rows:
            raise StagingError(
                f"{self.rows:,} predictions were stored and {found:,} lie in "
                f"{', '.join(map(str, self.files)) or 'no file'}. Nothing was loaded; materialize predictions of this "
                "partition again."
            )

    def staged(self, schema: pa.Schema) -> StagedRows:
        """The same rows as a stream of the columns and types of `schema`."""
        return StagedRows(lambda: pa.RecordBatchReader.from_batches(schema, self._batches(schema)), False, self.bytes)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        self.check()
        for path in self.files:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(_BATCH_ROWS, columns=schema.names):
                        yield _as(batch, schema)
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(error) from error


@dataclass(frozen=True)
class StoredTable:
    """Rows in a table of the pool: key and output columns of the target, and whatever else it holds.

    A load takes the table over: it is dropped after the commit.
    """

    table: str
    """Of the pool, as `schema.table`."""
    rows: int
    """As many as were judged."""
    measures: tuple[float, ...]
    """What the pool computed over the rows when they were judged: a load compares it with what it finds."""
    bytes: int = 0
    """About the size of the rows."""


def no_rows(schema: pa.Schema) -> StagedRows:
    """The rows of a slice that has none."""
    return StagedRows(lambda: pa.RecordBatchReader.from_batches(schema, []), keys_ascend=True)


StoredRows: TypeAlias = StoredTable | StoredFiles
Rows: TypeAlias = StagedRows | StoredRows


def row_bytes(schema: pa.Schema) -> int:
    """About the bytes of a row; a text counts as 32."""
    widths = (field.type.bit_width // 8 if pa.types.is_primitive(field.type) else _TEXT_BYTES for field in schema)
    return sum(max(1, width) for width in widths)


def _unreadable(error: Exception) -> StagingError:
    return StagingError(
        f"stored predictions cannot be read ({error}). Nothing was loaded; materialize predictions of this partition "
        "again."
    )


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [_cast(batch.column(field.name), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    if wanted == pa.uuid():
        # Parquet of an older writer: sixteen bytes that nobody says are a UUID.
        return pa.ExtensionArray.from_storage(wanted, array.cast(pa.binary(16)))
    return array.cast(wanted)
