"""Blobs as files: one that is written block by block, one that is read range by range.

Measured against Azurite, writing Parquet: 44, 181 and 545 MB took 52, 51 and 51 MB of memory this way; with pyarrow's
AzureFileSystem 44, 181 and 727 MB took 77, 135 and 214 MB (it sends in the background and waits for nothing), and
181 MB 5.7 s instead of 8.4. Its output also becomes a blob when a failed writer closes it, where blocks without a
commit never do, and it has sign-ins and error texts of its own.
"""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from azure.storage.blob import BlobClient

__all__ = ["BlobReader", "BlobWriter"]

_BLOCK_BYTES = 8 * 2**20
"""At most 50,000 blocks make a blob, so 400 GB."""


class BlobWriter(io.RawIOBase):
    """A new blob, which nobody sees before `commit`; what was sent without it, the service forgets within a week."""

    def __init__(self, blob: "BlobClient") -> None:
        super().__init__()
        self._blob = blob
        self._pending = bytearray()
        self._blocks: list[str] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        self._pending += view
        self._size += len(view)
        while len(self._pending) >= _BLOCK_BYTES:
            self._send(_BLOCK_BYTES)
        return len(view)

    def commit(self) -> int:
        """Make the blob; its size in bytes."""
        from azure.storage.blob import BlobBlock

        if self._pending:
            self._send(len(self._pending))
        self._blob.commit_block_list([BlobBlock(block) for block in self._blocks])
        return self._size

    def _send(self, size: int) -> None:
        block = f"{len(self._blocks):08}"
        self._blob.stage_block(block, bytes(self._pending[:size]))
        self._blocks.append(block)
        del self._pending[:size]


class BlobReader(io.RawIOBase):
    """A blob's bytes at random positions; one that is replaced meanwhile is an error, never a mix of two."""

    def __init__(self, blob: "BlobClient") -> None:
        super().__init__()
        self._blob = blob
        properties = blob.get_blob_properties()
        self._size, self._etag = properties.size, properties.etag
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        from azure.core import MatchConditions

        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._position)
        if length <= 0:
            return 0
        part = self._blob.download_blob(
            offset=self._position, length=length, etag=self._etag, match_condition=MatchConditions.IfNotModified
        ).readall()
        view[: len(part)] = part
        self._position += len(part)
        return len(part)
