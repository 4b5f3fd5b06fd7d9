"""dagster-azure's resource for the account that the environment names, for a project's own assets.

Imports dagster_azure, which takes longer than scoring a small partition: only for whoever has an account configured.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.storage.blob import BlobServiceClient
from dagster_azure.blob import (
    AzureBlobStorageDefaultCredential,
    AzureBlobStorageKeyCredential,
    AzureBlobStorageResource,
    AzureBlobStorageSASTokenCredential,
)

from onnx_pipeline.azure.account import BlobAccount

__all__ = ["EnvironmentBlobStorageResource", "azure_blob_resource"]


class EnvironmentBlobStorageResource(AzureBlobStorageResource):
    """`AzureBlobStorageResource` whose secret stays in the environment.

    Its configuration, which Dagster's UI shows, holds the account and the kind of sign-in only; the client is the one
    that model stores and staging use, so that all of them reach the same account in the same way.
    """

    @contextmanager
    def get_client(self) -> Iterator[BlobServiceClient]:
        with BlobAccount.from_environment().service() as service:
            yield service


def azure_blob_resource() -> EnvironmentBlobStorageResource:
    """The resource, to be bound to the key `azure_blob`; `SpecError` where the environment names no account."""
    account = BlobAccount.from_environment()
    credentials = {
        "account key": AzureBlobStorageKeyCredential,
        "SAS": AzureBlobStorageSASTokenCredential,
        "DefaultAzureCredential": AzureBlobStorageDefaultCredential,
    }
    return EnvironmentBlobStorageResource(account_url=account.url, credential=credentials[account.sign_in]())
