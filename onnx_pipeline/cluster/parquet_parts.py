"""Parts as Parquet: each is some row groups of a file, and what becomes of it is a file of its own."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.cluster.files import Files, files_at
from onnx_pipeline.cluster.parts import Part, PartPlan, Parts, Written, part_rows

__all__ = ["ParquetParts", "check_written", "plan_parts"]

_GROUP_ROWS = 2**19
"""Rows that are held before they become a row group."""


class ParquetParts(Parts):
    """In two folders that every task reaches: one of features, one of predictions."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._features = files_at(options["features"])
        self._predictions = files_at(options["predictions"])
        self._stored = _signed if options.get("signed") else _as_it_is

    def read(self, part: Part, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        name = part["file"]
        first, last = part["groups"]
        with self._features.open(name) as source:
            try:
                # Buffered ahead: of a blob, each column of each row group would be a request of its own.
                # Of INT96, as a server may write times, whole microseconds: in nanoseconds they would end in 2262.
                with pq.ParquetFile(source, pre_buffer=True, coerce_int96_timestamp_unit="us") as file:
                    for group in range(first, last):
                        yield from file.iter_batches(rows, [group], list(columns), use_threads=False)
            except pa.ArrowException as error:
                raise StagingError(f"{name} in {self._features.place} is no whole Parquet ({error})") from error

    def write(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Written:
        file, rows = f"{name}.parquet", 0
        stored = self._stored(schema)
        with self._predictions.create(file) as raw:
            sink = _Summed(raw)
            with pq.ParquetWriter(sink, stored, compression="snappy") as writer:
                for table in _grouped(schema, batches):
                    writer.write_table(table if stored is schema else table.cast(stored))
                    rows += table.num_rows
        return Written(file, rows, sink.size, sink.checksum)


def plan_parts(
    features: str, predictions: str, names: Sequence[str], *, most: int, wanted: int, signed: bool = False
) -> PartPlan:
    """The parts of Parquet files: at most `most` rows each where row groups allow, and about `wanted` of them.

    `signed` is for readers of the predictions that know neither unsigned numbers nor such of eight bits.
    """
    files = files_at(features)
    groups = [(name, group, rows) for name in names for group, rows in enumerate(_rows_of_groups(files, name))]
    total = sum(rows for _, _, rows in groups)
    size = part_rows(total, most=most, wanted=wanted)
    parts: list[dict[str, Any]] = []
    held = 0
    for name, group, rows in groups:
        if not rows:
            continue
        if parts and parts[-1]["file"] == name and held + rows <= size:
            parts[-1]["groups"][1] = group + 1
            parts[-1]["rows"] = held = held + rows
        else:
            parts.append({"file": name, "groups": [group, group + 1], "rows": rows})
            held = rows
    options = {"features": features, "predictions": predictions, "signed": signed}
    return PartPlan(f"{ParquetParts.__module__}:{ParquetParts.__qualname__}", options, parts, total)


def check_written(predictions: str, written: Sequence[Written]) -> None:
    """Raises StagingError where a file is not the one that a task told of."""
    files = files_at(predictions)
    for one in written:
        if files.size(one.name) != one.bytes:
            raise _touched(predictions, one)
        if "://" in predictions:
            # The service compared each block with its sum when it came; to read all would be the slice once more.
            continue
        with files.open(one.name) as file:
            checksum = 0
            while block := file.read(2**20):
                checksum = zlib.crc32(block, checksum)
        if checksum != one.checksum:
            raise _touched(predictions, one)


def _touched(place: str, one: Written) -> StagingError:
    return StagingError(
        f"{one.name} in {place} is not the file of {one.rows:,} predictions that a task of the cluster wrote; nothing "
        "was kept, run the partition again"
    )


def _rows_of_groups(files: Files, name: str) -> list[int]:
    with files.open(name) as source, pq.ParquetFile(source) as file:
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _grouped(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= _GROUP_ROWS:
            yield pa.Table.from_batches(held, schema)
            held, rows = [], 0
    if rows:
        yield pa.Table.from_batches(held, schema)


_SIGNED = {
    pa.int8(): pa.int16(), pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}  # fmt: skip


def _signed(schema: pa.Schema) -> pa.Schema:
    fields = [field.with_type(_SIGNED.get(field.type, field.type)) for field in schema]
    return pa.schema(fields)


def _as_it_is(schema: pa.Schema) -> pa.Schema:
    return schema


class _Summed:
    """A file to write, which sums up what goes by."""

    closed = False

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.size = 0
        self.checksum = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._sink.write(view)
        self.size += len(view)
        self.checksum = zlib.crc32(view, self.checksum)
        return len(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """What is written is seen once the file is whole."""

    def close(self) -> None:
        """Whoever gave the file closes it."""
