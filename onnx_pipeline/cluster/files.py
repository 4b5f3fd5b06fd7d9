"""A folder of files that the run and the tasks of a cluster both reach: a shared disk, or Azure Blob.

Both show a file once it is whole. Blobs are read and written by our own streams, which cost less memory than Arrow's
(`azure/blob_io.py` has the measurement) and sign in as everything else here does.
"""

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.azure.blob_io import BlobReader, BlobWriter
from onnx_pipeline.azure.failures import blob_failures
from onnx_pipeline.azure.location import BlobLocation
from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import StagingError, StagingUnavailableError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

__all__ = ["Files", "files_at"]


class Files(ABC):
    """A folder."""

    place: str
    """Path, or URI of Azure Blob."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """A file to read at random positions, as a context manager. Raises StagingError where it is not there."""

    @abstractmethod
    def create(self, name: str) -> Any:
        """A context manager with a file to write, which nobody sees before the block ends without an error."""

    @abstractmethod
    def size(self, name: str) -> int:
        """In bytes. Raises StagingError where it is not there."""

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return cast("bytes", file.read())

    def write(self, name: str, data: bytes) -> None:
        with self.create(name) as sink:
            sink.write(data)


def files_at(place: str) -> Files:
    """The folder at a path, or at `az://container/path` in the account that the environment names."""
    return _Blobs(place) if "://" in place else _Disk(place)


class _Sink(io.BufferedWriter):
    """A file that is written under another name; whatever of it fails says which file it was to be."""

    def __init__(self, path: Path, hidden: Path) -> None:
        super().__init__(io.FileIO(hidden, "wb"))
        self._path = path

    def write(self, data: Any, /) -> int:
        with _writing(self._path, memoryview(data).nbytes):
            return super().write(data)

    def flush(self) -> None:
        with _writing(self._path):
            super().flush()

    def close(self) -> None:
        with _writing(self._path):
            super().close()


def _writing(path: Path, size: int | None = None) -> AbstractContextManager[None]:
    return writing(
        path,
        StagingError,
        lost="the part is not there",
        elsewhere="put the `folder` of the resource `staging` on another disk that the machines share",
        then="run the partition again",
        size=size,
    )


class _Disk(Files):
    def __init__(self, place: str) -> None:
        self.place = place
        self._folder = Path(place)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self._reached(name):
            file = (self._folder / name).open("rb")
        with file:
            yield file

    @contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        path = self._folder / name
        hidden = path.with_name(f".{path.name}")
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sink = _Sink(path, hidden)
        try:
            yield sink
            sink.close()
            with _writing(path):
                hidden.replace(path)
        except BaseException:
            # What failed is being raised; a full disk refuses the last bytes again.
            with contextlib.suppress(OSError, StagingError):
                sink.close()
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise

    def size(self, name: str) -> int:
        with self._reached(name):
            return (self._folder / name).stat().st_size

    @contextmanager
    def _reached(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StagingError(
                f"{self._folder / name} cannot be read ({error.strerror or error}). Every machine of the cluster has "
                "to reach that folder under the same path: put the `folder` of the resource `staging` on a disk that "
                "they share"
            ) from error


class _Blobs(Files):
    def __init__(self, place: str) -> None:
        self.place = place
        found = BlobLocation.parse(place)
        self._account = BlobAccount.named(found.account_url)
        self._container, self._path = found.container, found.path

    @contextmanager
    def open(self, name: str) -> Iterator[BlobReader]:
        with self._client() as container:
            yield BlobReader(container.get_blob_client(f"{self._path}/{name}"))

    @contextmanager
    def create(self, name: str) -> Iterator[io.RawIOBase]:
        with self._client() as container:
            sink = BlobWriter(container.get_blob_client(f"{self._path}/{name}"))
            yield sink
            sink.commit()

    def size(self, name: str) -> int:
        with self._client() as container:
            return int(container.get_blob_client(f"{self._path}/{name}").get_blob_properties().size)

    @contextmanager
    def _client(self) -> Iterator["ContainerClient"]:
        failures = blob_failures(
            self._account, f"files in {self.place}", refused=StagingError, unavailable=StagingUnavailableError
        )
        with self._account.service() as service, failures:
            yield service.get_container_client(self._container)
