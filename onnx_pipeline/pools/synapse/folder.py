"""What the pool asks of the folders of its storage."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

__all__ = ["Folder"]


class Folder(Protocol):
    """One slice's files in the storage that the pool reads from."""

    path: str
    """Within the container."""

    @property
    def url(self) -> str: ...
    @property
    def dfs_url(self) -> str: ...
    @property
    def uri(self) -> str:
        """By which a task of a cluster finds it."""

    def within(self, name: str) -> "Folder": ...
    def write(self, batches: pa.RecordBatchReader) -> Any: ...
    def files(self) -> list[str]: ...
    def read(self) -> AbstractContextManager[pa.RecordBatchReader]: ...
    def delete(self) -> int: ...
