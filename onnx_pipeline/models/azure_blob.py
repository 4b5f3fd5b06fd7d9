"""Models in Azure Blob Storage: `az://container/path.onnx`, `abfss://container@account.dfs...`, or the blob's URL.

Which account, and how to sign in there, says the environment: see `onnx_pipeline.azure.account`.
"""

import itertools
import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.azure.failures import blob_failures
from onnx_pipeline.azure.location import BlobLocation
from onnx_pipeline.base.errors import ModelNotFoundError, ModelUnavailableError
from onnx_pipeline.models.stores import Artifact, ModelStore

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

__all__ = ["BlobModelStore"]

_logger = logging.getLogger(__name__)

_TRIES = 3
"""How often a blob is read anew that is replaced while it is read."""
_CONNECTIONS = 4
"""Parts of a large blob that are fetched at once."""


class BlobModelStore(ModelStore):
    """Reads blobs. The token of a blob is its ETag, which one HEAD request tells."""

    def etag(self, uri: str) -> str:
        """The blob's ETag, without its quotes."""
        place, account = _locate(uri)
        with account.service() as service, _failures(account, uri):
            from azure.core.exceptions import ResourceNotFoundError

            try:
                return _token(service.get_blob_client(place.container, place.path).get_blob_properties().etag)
            except ResourceNotFoundError:
                raise _nothing_there(service, place, uri) from None

    def read(self, uri: str) -> Artifact:
        """The blob's bytes with the ETag of the response that began them; the parts that follow must match it."""
        place, account = _locate(uri)
        with account.service() as service, _failures(account, uri):
            from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

            blob = service.get_blob_client(place.container, place.path)
            for _ in range(_TRIES):
                try:
                    # The client sends If-Match with every part after the first.
                    download = blob.download_blob(max_concurrency=_CONNECTIONS)
                    return Artifact(download.readall(), _token(download.properties.etag))
                except ResourceModifiedError:  # noqa: PERF203 - beside requests a `try` costs nothing
                    _logger.info("%s was replaced while it was read; reading it again", uri)
                except ResourceNotFoundError:
                    raise _nothing_there(service, place, uri) from None
        raise ModelUnavailableError(
            f"the model {uri} was replaced {_TRIES} times while it was read, so no version of it was got whole; try "
            "again later"
        )

    def write(self, uri: str, data: bytes) -> None:
        """A blob is replaced whole: whoever reads it meanwhile begins anew."""
        place, account = _locate(uri)
        with account.service() as service, _failures(account, uri):
            blob = service.get_blob_client(place.container, place.path)
            blob.upload_blob(data, overwrite=True, max_concurrency=_CONNECTIONS)


def _locate(uri: str) -> tuple[BlobLocation, BlobAccount]:
    place = BlobLocation.parse(uri)
    if not place.path:
        raise ModelNotFoundError(f"the model {uri} is a container; name the .onnx file in it")
    return place, BlobAccount.named(place.account_url)


def _failures(account: BlobAccount, uri: str) -> AbstractContextManager[None]:
    return blob_failures(account, f"the model {uri}", refused=ModelNotFoundError, unavailable=ModelUnavailableError)


def _token(etag: str) -> str:
    return etag.strip('"')


def _nothing_there(service: "BlobServiceClient", place: BlobLocation, uri: str) -> ModelNotFoundError:
    """The error for a missing blob, with what lies beside it; a missing container is the client's own error."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    folder = f"{place.path.rpartition('/')[0]}/".lstrip("/")
    names: list[str] = []
    try:
        found = service.get_container_client(place.container).list_blob_names(
            name_starts_with=folder, results_per_page=200
        )
        names = [name for name in itertools.islice(found, 200) if name.endswith(".onnx")][:5]
    except ResourceNotFoundError:
        raise
    except HttpResponseError as error:
        # A sign-in may be allowed to read and not to list: the error is as true without the hint.
        _logger.debug("%s cannot be listed: HTTP %s", place.container, error.status_code)
    beside = f"; beside it lie {', '.join(names)}" if names else ""
    return ModelNotFoundError(
        f"no model lies at {uri}: the container {place.container!r} has no such blob{beside}; correct the URI"
    )
