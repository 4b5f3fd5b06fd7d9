"""The storage account and how to sign in there, from the environment.

The environment is the one place that says it. Model stores are opened by a URI alone, in a notebook and in a sensor as
in an asset, so they cannot wait for what Dagster injects; the Dagster resource (`onnx_pipeline.azure.resource`) reads
this account too, so the two never differ, and no secret enters Dagster's configuration, which its UI shows.
"""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from onnx_pipeline.azure.secrets import redact_everywhere, without_signatures
from onnx_pipeline.base.errors import SpecError, first_line

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

__all__ = ["ACCOUNT_URL", "CONNECTION_STRING", "BlobAccount", "account_configured", "default_credential"]

ACCOUNT_URL = "ONNX_PIPELINE_BLOB_ACCOUNT_URL"
CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT_KEY = "AZURE_STORAGE_KEY"
SAS_TOKEN = "AZURE_STORAGE_SAS_TOKEN"  # noqa: S105 - the variable's name; the Azure command line reads the same ones

SignIn = Literal["account key", "SAS", "DefaultAzureCredential"]

# Azurite's published account, which `UseDevelopmentStorage=true` stands for:
# https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
_DEVELOPMENT = {
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
_HOST = re.compile(
    r"[a-z0-9-]{3,40}\.(?:(?:blob|dfs)\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
    r"|z\d+\.(?:blob|dfs)\.storage\.azure\.net)"
)

_CONNECT_SECONDS, _READ_SECONDS, _RETRIES = 10, 60, 3


@dataclass(frozen=True)
class BlobAccount:
    """A storage account and a sign-in. Its repr shows no secret."""

    url: str
    """`https://<account>.blob.core.windows.net`, or `http://127.0.0.1:10000/<account>` for Azurite."""
    sign_in: SignIn = "DefaultAzureCredential"
    secret: str | None = field(default=None, repr=False)
    """The account key or the SAS."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "BlobAccount":
        """The account that the environment names.

        `ONNX_PIPELINE_BLOB_ACCOUNT_URL`, signed in to with the SAS in its query, else AZURE_STORAGE_SAS_TOKEN, else
        AZURE_STORAGE_KEY, else DefaultAzureCredential (managed identity, service principal, `az login`). Without that
        URL, AZURE_STORAGE_CONNECTION_STRING, which holds both. Raises SpecError where neither is set or makes sense.
        """
        given = {name: value.strip() for name, value in (environment or os.environ).items() if value.strip()}
        if ACCOUNT_URL in given:
            url, _, sas = given[ACCOUNT_URL].partition("?")
            return cls._signed_in(_endpoint(url, ACCOUNT_URL), sas or given.get(SAS_TOKEN), given.get(ACCOUNT_KEY))
        if CONNECTION_STRING in given:
            return cls._from_connection_string(given[CONNECTION_STRING])
        raise SpecError(
            f"the environment names no storage account, so nothing can be read or staged in Azure Blob; set "
            f"{ACCOUNT_URL}, e.g. to https://<account>.blob.core.windows.net, or {CONNECTION_STRING}"
        )

    @classmethod
    def named(cls, url: str | None) -> "BlobAccount":
        """The account at `url`, by default the environment's.

        The environment's key or SAS goes to the environment's account only; another account, as a full URL in `onnx:`
        names it, is signed in to with DefaultAzureCredential, and has to be one of Azure's own hosts: a token of ours
        must not reach somebody else's. Raises SpecError.
        """
        if url is None:
            return cls.from_environment()
        url = _endpoint(url, "the URI")
        if account_configured() and (configured := cls.from_environment()).url == url:
            return configured
        host = urlsplit(url).hostname or ""
        if not url.startswith("https://") or not _HOST.fullmatch(host):
            raise SpecError(
                f"{host or url!r} is no host of Azure Blob and not the account of {ACCOUNT_URL}, so no sign-in is "
                "sent there; use https://<account>.blob.core.windows.net/<container>/<path>, or az://<container>/<path>"
            )
        return cls(url)

    @classmethod
    def _signed_in(cls, url: str, sas: str | None, key: str | None) -> "BlobAccount":
        if sas:
            return cls(url, "SAS", sas.removeprefix("?"))
        return cls(url, "account key", key) if key else cls(url)

    @classmethod
    def _from_connection_string(cls, text: str) -> "BlobAccount":
        parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
        if parts.get("UseDevelopmentStorage", "").lower() == "true":
            parts = _DEVELOPMENT
        url = parts.get("BlobEndpoint", "")
        if not url and "AccountName" in parts:
            protocol, suffix = (
                parts.get("DefaultEndpointsProtocol", "https"),
                parts.get("EndpointSuffix", "core.windows.net"),
            )
            url = f"{protocol}://{parts['AccountName']}.blob.{suffix}"
        if not url:
            raise SpecError(
                f"{CONNECTION_STRING} names no account: it needs AccountName=... or BlobEndpoint=...; copy it again "
                "from the account's page of access keys"
            )
        url, _, sas = url.partition("?")
        return cls._signed_in(
            _endpoint(url, CONNECTION_STRING), parts.get("SharedAccessSignature") or sas, parts.get("AccountKey")
        )

    @property
    def name(self) -> str:
        """The account's name."""
        parts = urlsplit(self.url)
        return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]

    def blob_url(self, container: str, path: str) -> str:
        """`https://<account>.blob.core.windows.net/<container>/<path>`."""
        return f"{self.url}/{container}/{quote(path)}"

    def dfs_url(self, container: str, path: str) -> str:
        """The same at the account's Data Lake endpoint, `https://<account>.dfs...`."""
        return self.blob_url(container, path).replace(".blob.", ".dfs.", 1)

    @contextmanager
    def service(self) -> Iterator["BlobServiceClient"]:
        """A client of the account; `SpecError` without the packages that it takes.

        Waits 2, 4 and 8 s between its tries, not the client's own 15 to 40: a sensor's tick has 60 s.
        """
        try:
            from azure.storage.blob import BlobServiceClient, ExponentialRetry
        except ImportError as error:
            raise SpecError(
                f"Azure Blob needs the package azure-storage-blob ({error}); pip install 'onnx-pipeline[azure]'"
            ) from error
        with BlobServiceClient(
            self.url,
            credential=self._credential(),
            retry_policy=ExponentialRetry(
                initial_backoff=0, increment_base=2, retry_total=_RETRIES, random_jitter_range=1
            ),
            connection_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
        ) as client:
            yield client

    def _credential(self) -> Any:
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

        if self.secret is None:
            if not self.url.startswith("https://"):
                raise SpecError(
                    f"DefaultAzureCredential sends its token over https only, so it cannot sign in to {self.url}; set "
                    f"{ACCOUNT_KEY} or {SAS_TOKEN}, or write https://"
                )
            return default_credential()
        if self.sign_in == "SAS":
            redact_everywhere()
            return AzureSasCredential(self.secret)
        return AzureNamedKeyCredential(self.name, self.secret)

    def redacted(self, text: str) -> str:
        """`text` without this account's secret, also where it was cut up or escaped."""
        known = [self.secret] if self.secret else []
        if self.secret and self.sign_in == "SAS":
            known += parse_qs(self.secret).get("sig", [])
        for secret in known:
            for form in (secret, quote(secret), quote(secret, safe="")):
                text = text.replace(form, "***")
        return without_signatures(text)


def account_configured() -> bool:
    """Whether the environment names a storage account."""
    return any(os.environ.get(name, "").strip() for name in (ACCOUNT_URL, CONNECTION_STRING))


@functools.cache
def default_credential() -> Any:
    """Azure's chain of sign-ins, one per process: it keeps its tokens, so not every tick of a sensor asks for one."""
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise SpecError(
            f"signing in to Azure needs the package azure-identity ({error}); pip install 'onnx-pipeline[azure]', or "
            f"set {ACCOUNT_KEY} or {SAS_TOKEN}"
        ) from error
    return DefaultAzureCredential()


def no_token(scope: str, error: Exception) -> str:
    """What to say where a credential got no token for a scope; `error` is azure-identity's."""
    return (
        f"Microsoft Entra ID gave no token for {scope} ({first_line(error, most=300)}); sign in by `az login`, a "
        "managed identity, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET"
    )


def _endpoint(url: str, origin: str) -> str:
    """The account's Blob endpoint: without container and blob, and at `.blob.` where `.dfs.` was named."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SpecError(f"{origin} is no URL of a storage account; write https://<account>.blob.core.windows.net")
    netloc = parts.netloc.lower().replace(".dfs.", ".blob.", 1)
    if ".blob." in netloc:
        return f"{parts.scheme}://{netloc}"
    # An emulator, or a proxy: the account is the first part of the path.
    account = parts.path.strip("/").partition("/")[0]
    if not account:
        raise SpecError(
            f"{origin} names no account; write https://<account>.blob.core.windows.net or http://host:10000/<account>"
        )
    return f"{parts.scheme}://{netloc}/{account}"
