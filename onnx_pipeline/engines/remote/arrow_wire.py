"""Arrow IPC streams both ways: columns as they lie in memory."""

from collections.abc import Sequence

import pyarrow as pa

from onnx_pipeline.base.errors import first_line
from onnx_pipeline.base.inference_protocol import ARROW_STREAM
from onnx_pipeline.engines.remote.body import Body, Part
from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.engines.remote.wire import BadAnswer, Wire
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["ArrowWire"]


class _Parts:
    """A file that keeps what is written to it. Arrow hands its buffers over as they are, and copies none."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def write(self, part: Part) -> int:
        self.parts.append(part)
        return len(part)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """Nor is there here."""


class ArrowWire(Wire):
    """An Arrow IPC stream."""

    content_type = ARROW_STREAM
    default_rows = 65_536

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._schema: pa.Schema | None = None

    def encode(self, columns: Sequence[pa.Array], rows: int) -> Body:
        if self._schema is None:
            names = self.layout.names
            self._schema = pa.schema([pa.field(n, c.type) for n, c in zip(names, columns, strict=True)])
        batch = pa.RecordBatch.from_arrays(list(columns), schema=self._schema)
        sink = _Parts()
        with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), self._schema) as writer:
            writer.write_batch(batch)
        return Body.of(sink.parts)

    def decode(self, body: bytes, rows: int) -> list[pa.Array]:
        try:
            with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
                table = reader.read_all()
            table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadAnswer(f"its body is no Arrow stream ({first_line(error)})") from error
        if table.num_rows != rows:
            raise BadAnswer(f"it has {table.num_rows:,} rows for {rows:,} sent")
        places = self._places(table.column_names)
        return [_typed(table.column(places[index]), self.layout.answered[index]) for index in self.layout.wanted]

    def _places(self, names: list[str]) -> list[int]:
        """Where in the answer each column of `answered` is.

        By name; where the service names classes that the signature does not know, by the place of an output's columns.
        """
        expected = self.layout.answered
        if len(set(names)) < len(names):
            raise BadAnswer(f"it has two columns of the same name: {', '.join(names)}")
        if all(expected[index].name in names for index in self.layout.wanted):
            return [names.index(column.name) if column.name in names else -1 for column in expected]
        if len(names) == len(expected) and all(
            name.startswith(f"{column.output}_") or name == column.name
            for name, column in zip(names, expected, strict=True)
        ):
            return list(range(len(names)))
        raise BadAnswer(f"it has the columns {', '.join(names)}, not {', '.join(self.layout.expected)}")


def _typed(column: pa.ChunkedArray, wanted: OutputColumn) -> pa.Array:
    found = column.type
    if pa.types.is_dictionary(found):
        found = found.value_type
    is_text = pa.types.is_large_string(found) or pa.types.is_string_view(found)
    half = pa.types.is_float16(found) and pa.types.is_float32(wanted.arrow)
    if found != wanted.arrow and not half and not (is_text and pa.types.is_string(wanted.arrow)):
        raise BadAnswer(f"its column {wanted.name!r} is {column.type}, not {wanted.arrow}")
    if column.type != wanted.arrow:
        column = column.cast(wanted.arrow)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [_empty(wanted)])


def _empty(wanted: OutputColumn) -> pa.Array:
    return pa.nulls(0, wanted.arrow)
