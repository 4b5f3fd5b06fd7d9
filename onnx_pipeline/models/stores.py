"""Where models come from: one class per scheme of a model's URI."""

import importlib
import os
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from onnx_pipeline.base.errors import ModelNotFoundError

__all__ = ["Artifact", "FileModelStore", "ModelStore", "open_store"]


class Artifact(NamedTuple):
    """What lay at a URI at one moment."""

    data: bytes
    etag: str
    """The change token of these very bytes, so that an artifact replaced while it is fetched is seen as changed."""


class ModelStore(ABC):
    """Reads the bytes at a URI.

    Each method raises ModelNotFoundError where nothing can be read there, ModelUnavailableError where the store does
    not answer, and SpecError for a URI or an environment that cannot work.
    """

    @abstractmethod
    def read(self, uri: str) -> Artifact:
        """The whole artifact, and the token that belongs to it."""

    @abstractmethod
    def etag(self, uri: str) -> str:
        """A cheap token, without spaces, that changes whenever the artifact may have changed."""

    def write(self, uri: str, data: bytes) -> None:
        """Put an artifact in place of what lies there, in one step.

        Raises ModelNotFoundError where nothing can be stored there.
        """
        raise ModelNotFoundError(
            f"nothing is published at {uri}: use a path, az:// or abfss://, or the registry's own tool"
        )

    def fetch(self, uri: str) -> bytes:
        """The whole artifact."""
        return self.read(uri).data


class FileModelStore(ModelStore):
    """A path, relative to the working directory or absolute, or a `file://` URI."""

    def read(self, uri: str) -> Artifact:
        """The file's bytes. A file that is written in place meanwhile keeps its older token, and so is read again."""
        try:
            with self._existing(uri).open("rb") as file:
                etag = _file_token(os.fstat(file.fileno()))
                return Artifact(file.read(), etag)
        except PermissionError as error:
            raise ModelNotFoundError(f"the model {uri} may not be read ({error.strerror}); grant the right") from error

    def etag(self, uri: str) -> str:
        """Modification time, size and file number, which tells a file replaced within a clock tick."""
        return _file_token(self._existing(uri).stat())

    def write(self, uri: str, data: bytes) -> None:
        """Whoever reads meanwhile gets the artifact before or this one."""
        path = self._path(uri)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise ModelNotFoundError(
                f"the model cannot be stored at {uri} ({error.strerror}); free space there or grant the right"
            ) from error

    @staticmethod
    def _path(uri: str) -> Path:
        parts = urlsplit(uri)
        return Path(url2pathname(unquote(parts.path))) if parts.scheme == "file" else Path(uri).expanduser()

    @classmethod
    def _existing(cls, uri: str) -> Path:
        path = cls._path(uri)
        if path.is_file():
            return path
        if path.is_dir():
            raise ModelNotFoundError(f"the model {uri} is a folder; name the .onnx file in it")
        nearby = sorted(file.name for file in path.parent.glob("*.onnx"))[:5] if path.parent.is_dir() else []
        beside = f"; beside it lie {', '.join(nearby)}" if nearby else ""
        raise ModelNotFoundError(f"no model lies at {uri} ({path.absolute()}){beside}; correct the path or URI")


def _file_token(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


_STORES = {
    "file": ("onnx_pipeline.models.stores", "FileModelStore"),
    "az": ("onnx_pipeline.models.azure_blob", "BlobModelStore"),
    "abfss": ("onnx_pipeline.models.azure_blob", "BlobModelStore"),
    "https": ("onnx_pipeline.models.azure_blob", "BlobModelStore"),
    "azureml": ("onnx_pipeline.models.azure_ml", "AzureMlModelStore"),
}
"""By scheme: module and class. A new store is a subclass and a line here; it imports a heavy client in its methods."""


def open_store(uri: str) -> ModelStore:
    """The store that reads such URIs. Raises ModelNotFoundError for a scheme that none reads."""
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else "file"
    if scheme in _STORES:
        module, name = _STORES[scheme]
        store: ModelStore = getattr(importlib.import_module(module), name)()
        return store
    raise ModelNotFoundError(
        f"no store reads {scheme}:// URIs, so the model {uri} cannot be fetched; "
        f"use a path, or one of {', '.join(f'{known}://' for known in _STORES)}"
    )
