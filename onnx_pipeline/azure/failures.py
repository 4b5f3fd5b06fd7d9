"""What Azure's failures mean to whoever asked, in our own words and without secrets.

An Azure error is not chained to ours: its text may quote a URL with a shared access signature, and Dagster shows the
whole chain. What it says is kept in our message, redacted.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.base.errors import OnnxPipelineError, first_line
from onnx_pipeline.base.network import lasting_reason

__all__ = ["azure_failures", "blob_failures"]

# Too slow, too many requests, or the service's own trouble. What a 501 or 505 cannot do it cannot do later; what is
# refused (401, 403), missing (404) or changed meanwhile (409, 412) stays so until somebody does something.
_PASSING = (408, 429, 500, 502, 503, 504)


@contextmanager
def azure_failures(
    what: str,
    *,
    place: str,
    sign_in: str = "",
    missing: str,
    denied: str,
    redacted: Callable[[str], str],
    refused: type[OnnxPipelineError],
    unavailable: type[OnnxPipelineError],
) -> Iterator[None]:
    """Turn Azure's errors into `unavailable` where the same call may work later, else into `refused`.

    `what` is the subject of the message (`the model az://models/a.onnx`), `place` the service that was asked, `missing`
    what it lacks when it answers 404, `denied` what to do about a sign-in that was refused.
    """
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        IncompleteReadError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except (IncompleteReadError, ServiceRequestError, ServiceResponseError) as error:
        said = first_line(error, most=300, redacted=redacted)
        lasting = lasting_reason(error)
        if lasting is not None:
            raise refused(f"{what}: {place} cannot be reached: {lasting} ({said})") from None
        raise unavailable(f"{what}: {place} does not answer ({said}); check the URL and the network") from None
    except AzureError as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        code = _code(error)
        said = f"{code or 'HTTP'} {status}" if status else first_line(error, most=300, redacted=redacted)
        if status in _PASSING:
            raise unavailable(f"{what}: {place} is busy or failing ({said}); try again later") from None
        if status == 404:
            lacking = "container" if code == "ContainerNotFound" else missing
            raise refused(f"{what}: {place} has no such {lacking} ({said}); make it, or correct the URI") from None
        if status == 412:
            raise refused(
                f"{what}: the {missing} was replaced or removed while it was read ({said}); run this again"
            ) from None
        if status in (401, 403) or isinstance(error, ClientAuthenticationError):
            raise refused(f"{what}: {place} refused the sign-in{sign_in} ({said}). {denied}") from None
        said = said if status is None else f"{said}: {first_line(error, most=300, redacted=redacted)}"
        raise refused(f"{what}: {place} refused the request ({said})") from None


def blob_failures(
    account: BlobAccount, what: str, *, refused: type[OnnxPipelineError], unavailable: type[OnnxPipelineError]
) -> AbstractContextManager[None]:
    """`azure_failures` of a storage account."""
    return azure_failures(
        what,
        place=account.url,
        sign_in=f" by {account.sign_in}",
        missing="blob",
        denied=_REMEDIES[account.sign_in],
        redacted=account.redacted,
        refused=refused,
        unavailable=unavailable,
    )


_REMEDIES = {
    "DefaultAzureCredential": (
        "Sign in (`az login`, a managed identity, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET), and "
        "grant that identity the role Storage Blob Data Reader, or Storage Blob Data Contributor where it also "
        "writes; a role takes some minutes to work. The account's firewall refuses in the same way"
    ),
    "SAS": "Make a new SAS that has not expired, with the rights read and list, to stage or keep also write and delete",
    "account key": (
        "Check the account key, which may have been rotated or be another account's, and whether the account "
        "allows keys"
    ),
}


def _code(error: Exception) -> str:
    """The service's own name for the error, `BlobNotFound`; empty where it gave none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")
