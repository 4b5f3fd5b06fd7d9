"""Reading an Arrow IPC stream that somebody else wrote: nothing in it is taken on trust.

pyarrow reads buffers where the stream says that they lie, so offsets and indices are validated before use. A compressed
body, which may grow a thousandfold, is refused before it is unpacked, and so are rows that no bytes stand for.
"""

import struct
from collections.abc import Callable, Iterator

import pyarrow as pa

from onnx_pipeline.serving.refusals import Refusal

__all__ = ["batches"]

_ALIGNED = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.DataTypeSpecific)
_CELLS_PER_BYTE = 8
"""A boolean takes a bit, every other cell more; only columns of the type null take nothing."""

# Places in the tables of https://github.com/apache/arrow/blob/main/format/Message.fbs
_MESSAGE_HEADER, _BATCH_COMPRESSION, _DICTIONARY_DATA = 2, 3, 1


def batches(body: bytes | bytearray | memoryview, counted: Callable[[pa.Schema], int]) -> Iterator[pa.RecordBatch]:
    """The batches of a stream, over the memory of `body`; one without rows where the stream has none.

    `counted` tells how many columns of a schema will take memory. Raises Refusal for what is no such stream, is cut
    off, or is compressed.
    """
    buffer = pa.py_buffer(body)
    cells = 0
    try:
        _check_uncompressed(buffer)
        with pa.ipc.open_stream(buffer, options=_ALIGNED) as reader:
            flat = all(map(pa.types.is_primitive, reader.schema.types))
            columns = max(1, counted(reader.schema))
            found = False
            for batch in reader:
                found = True
                cells += batch.num_rows * columns
                if cells > _CELLS_PER_BYTE * len(body):
                    raise Refusal(400, "rows_without_data", "the stream has more rows than its bytes can hold")
                batch.validate(full=not flat)
                yield batch
            if not found:
                nothing = [pa.nulls(0, field.type) for field in reader.schema]
                yield pa.RecordBatch.from_arrays(nothing, schema=reader.schema)
    except (pa.ArrowException, OSError, struct.error) as error:
        raise Refusal(
            400, "not_arrow", f"the body is no whole Arrow IPC stream ({type(error).__name__}); write it with "
            "pyarrow.ipc.new_stream, not as a file",
        ) from None  # fmt: skip


def _check_uncompressed(buffer: pa.Buffer) -> None:
    for message in pa.ipc.MessageReader.open_stream(buffer):
        if message.type not in ("record batch", "dictionary"):
            continue
        metadata = memoryview(message.metadata)
        (root,) = struct.unpack_from("<I", metadata, 0)
        batch = _table(metadata, root, _MESSAGE_HEADER)
        if message.type == "dictionary" and batch is not None:
            batch = _table(metadata, batch, _DICTIONARY_DATA)
        if batch is not None and _table(metadata, batch, _BATCH_COMPRESSION) is not None:
            raise Refusal(
                400, "compressed", "the stream is compressed, and the service unpacks nothing that it cannot bound; "
                "write it without compression",
            )  # fmt: skip


def _table(metadata: memoryview, position: int, place: int) -> int | None:
    """Where the table in a field of another table begins; None where the field is not set.

    https://flatbuffers.dev/internals/ says how: a table begins with the distance back to its vtable, which holds two
    sizes and then, for each field, the distance from the table's begin.
    """
    (back,) = struct.unpack_from("<i", metadata, position)
    vtable = position - back
    (size,) = struct.unpack_from("<H", metadata, vtable)
    if 4 + 2 * place >= size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, vtable + 4 + 2 * place)
    if offset == 0:
        return None
    (forward,) = struct.unpack_from("<I", metadata, position + offset)
    return int(position + offset + forward)
