"""Where models come from: one class per scheme of a model's URI."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from onnx_pipeline.errors import ModelNotFoundError

__all__ = ["FileModelStore", "ModelStore", "open_store"]


class ModelStore(ABC):
    """Reads the bytes at a URI."""

    @abstractmethod
    def fetch(self, uri: str) -> bytes:
        """The whole artifact. Raises ModelNotFoundError where nothing can be read at the URI."""

    @abstractmethod
    def etag(self, uri: str) -> str:
        """A cheap token that changes whenever the artifact may have changed. Raises ModelNotFoundError."""


class FileModelStore(ModelStore):
    """A path, relative to the working directory or absolute, or a `file://` URI."""

    def fetch(self, uri: str) -> bytes:
        """The file's bytes."""
        try:
            return self._existing(uri).read_bytes()
        except PermissionError as error:
            raise ModelNotFoundError(f"the model {uri} may not be read ({error.strerror}); grant the right") from error

    def etag(self, uri: str) -> str:
        """Modification time, size and file number, which tells a file replaced within a clock tick."""
        status = self._existing(uri).stat()
        return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"

    @staticmethod
    def _existing(uri: str) -> Path:
        parts = urlsplit(uri)
        path = Path(url2pathname(unquote(parts.path))) if parts.scheme == "file" else Path(uri).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            raise ModelNotFoundError(f"the model {uri} is a folder; name the .onnx file in it")
        nearby = sorted(file.name for file in path.parent.glob("*.onnx"))[:5] if path.parent.is_dir() else []
        beside = f"; beside it lie {', '.join(nearby)}" if nearby else ""
        raise ModelNotFoundError(f"no model lies at {uri} ({path.absolute()}){beside}; correct `onnx`")


_STORES: dict[str, Callable[[], ModelStore]] = {"file": FileModelStore}
"""By scheme. A new store is a subclass and a line here, and imports a heavy client inside its methods."""


def open_store(uri: str) -> ModelStore:
    """The store that reads such URIs. Raises ModelNotFoundError for a scheme that none reads."""
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else "file"
    if scheme in _STORES:
        return _STORES[scheme]()
    raise ModelNotFoundError(
        f"no store reads {scheme}:// URIs, so the model {uri} cannot be fetched; "
        f"use a path, or one of {', '.join(f'{known}://' for known in _STORES)}"
    )
