"""An artifact store's files in Azure Blob, so that a run on any machine finds a model by its sha256."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.azure.failures import blob_failures
from onnx_pipeline.azure.location import BlobLocation
from onnx_pipeline.base.errors import ModelError, ModelUnavailableError

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

__all__ = ["BlobFiles"]

_TRIES = 3
"""How often a blob is written anew that another process writes at the same time."""
_CONNECTIONS = 4
"""Parts of a large blob that are fetched or sent at once."""
_REMEMBERED_BYTES = 256 * 2**20


class BlobFiles:
    """Blobs under one folder of a container, which has to exist.

    A blob is made by one request, or by blocks and then one commit, so nobody ever sees half of it. Each carries the
    sha256 of its content as metadata; whoever keeps a file again compares that, for the price of a HEAD.
    """

    def __init__(self, account: BlobAccount, container: str, folder: str) -> None:
        self._account = account
        self._container = container
        self._folder = folder.strip("/")

    @classmethod
    def at(cls, uri: str) -> "BlobFiles":
        """The files under `az://container/folder`, in the account that the environment names; raises SpecError."""
        place = BlobLocation.parse(uri)
        return cls(BlobAccount.named(place.account_url), place.container, place.path)

    def read(self, name: str) -> bytes | None:
        """The blob's content. This process asks for it once, and afterwards only whether it changed."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        with self._blob(name) as blob:
            known = _remembered.get(blob.url)
            condition: dict[str, Any] = {}
            if known is not None:
                condition = {"etag": known[0], "match_condition": MatchConditions.IfModified}
            try:
                # The client sends If-Match with every part after the first.
                download = blob.download_blob(max_concurrency=_CONNECTIONS, **condition)
                content: bytes = download.readall()
            except HttpResponseError as error:
                if known is not None and error.status_code == 304:
                    return known[1]
                if _is_absent(error):
                    return None
                raise
            _remembered.put(blob.url, download.properties.etag, content)
            return content

    def keep(self, name: str, content: bytes) -> None:
        """Created if absent; a blob that holds something else is replaced, unless another process was faster."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError

        with self._blob(name) as blob:
            for _ in range(_TRIES):
                condition: dict[str, Any] = {"overwrite": False}
                try:
                    found = blob.get_blob_properties()
                except HttpResponseError as error:
                    if not _is_absent(error):
                        raise
                else:
                    if found.size == len(content) and found.metadata.get("sha256") == _sha256(content):
                        return
                    condition = {
                        "overwrite": True,
                        "etag": found.etag,
                        "match_condition": MatchConditions.IfNotModified,
                    }
                try:
                    self._write(blob, content, **condition)
                except (ResourceExistsError, ResourceModifiedError):
                    continue
                return
        raise ModelUnavailableError(
            f"{self.place(name)} was replaced {_TRIES} times while it was kept; try again when no other run keeps it"
        )

    def replace(self, name: str, content: bytes) -> None:
        with self._blob(name) as blob:
            self._write(blob, content, overwrite=True)

    def place(self, name: str) -> str:
        return self._account.blob_url(self._container, self._path(name)).rstrip("/")

    @staticmethod
    def _write(blob: "BlobClient", content: bytes, **condition: Any) -> None:
        metadata = {"sha256": _sha256(content)}
        blob.upload_blob(content, metadata=metadata, max_concurrency=_CONNECTIONS, **condition)

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self._folder, name) if part)

    @contextmanager
    def _blob(self, name: str) -> Iterator["BlobClient"]:
        failures = blob_failures(
            self._account, f"the kept model {self.place(name)}", refused=ModelError, unavailable=ModelUnavailableError
        )
        with self._account.service() as service, failures:
            yield service.get_blob_client(self._container, self._path(name))


class _Remembered:
    """The latest contents of blobs and their ETags, of at most 256 MB: each asset of a run reads the same model."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()  # sensors are evaluated in threads

    def get(self, url: str) -> tuple[str, bytes] | None:
        return self._files.get(url)

    def put(self, url: str, etag: str, content: bytes) -> None:
        with self._lock:
            self._files.pop(url, None)
            self._files[url] = (etag, content)
            while sum(len(kept) for _, kept in self._files.values()) > _REMEMBERED_BYTES:
                self._files.popitem(last=False)


_remembered = _Remembered()


def _is_absent(error: Exception) -> bool:
    """Whether the service has the container, as far as it says, and in it no such blob."""
    return getattr(error, "status_code", None) == 404 and getattr(error, "error_code", None) != "ContainerNotFound"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
