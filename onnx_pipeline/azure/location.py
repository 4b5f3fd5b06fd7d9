"""URIs of blobs."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from onnx_pipeline.azure.secrets import without_signatures
from onnx_pipeline.base.errors import SpecError

__all__ = ["BlobLocation"]

# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*|\$root|\$web")

_SCHEMES = ("az", "abfss", "https")


@dataclass(frozen=True)
class BlobLocation:
    """A blob or a folder of blobs."""

    account_url: str | None
    """None: the account that the environment names."""
    container: str
    path: str
    """Without a slash at either end; empty for the container itself."""

    @classmethod
    def parse(cls, uri: str) -> "BlobLocation":
        """`az://container/path`, `abfss://container@account.dfs.core.windows.net/path`, or the blob's https URL.

        In the first two a path is taken as it stands, as fsspec does; in the last it is percent-decoded. Raises
        SpecError.
        """
        scheme, _, rest = uri.partition("://")
        if scheme.lower() not in _SCHEMES:
            raise SpecError(
                f"{without_signatures(uri)} is no place in Azure Blob: write az://<container>/<path>, or "
                "https://<account>.blob.core.windows.net/<container>/<path>"
            )
        if scheme.lower() == "https":
            parts = urlsplit(uri)
            if parts.query or parts.fragment:
                raise SpecError(
                    f"the URI {without_signatures(uri.partition('?')[0])} has a query or a fragment, which a URI "
                    "here may not: it is shown in the UI and kept in metadata. A SAS goes into AZURE_STORAGE_SAS_TOKEN"
                )
            container, _, path = unquote(parts.path).strip("/").partition("/")
            account: str | None = f"https://{parts.netloc}"
        else:
            place, _, path = rest.partition("/")
            container, _, host = place.partition("@")
            account = f"https://{host}" if host else None
        if not _CONTAINER.fullmatch(container):
            raise SpecError(
                f"{container!r} in {without_signatures(uri)} is no name of a container (3 to 63 of a-z, 0-9 and single "
                "hyphens); write az://<container>/<path>"
            )
        return cls(account, container, path.strip("/"))
