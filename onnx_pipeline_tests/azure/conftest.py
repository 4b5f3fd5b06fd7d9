"""A storage account in a real Azurite server, named by the environment as a user would."""

import logging
from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient

from onnx_pipeline.azure import account as account_module
from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline_tests.azure.azurite import ACCOUNT, KEY, Azurite, running_azurite

VARIABLES = (
    "ONNX_PIPELINE_BLOB_ACCOUNT_URL",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
)


class Storage:
    """The account of one test: containers `models` and `staging`, empty at first."""

    def __init__(self, server: Azurite, client: BlobServiceClient) -> None:
        self.url = server.url
        self.client = client
        self._server = server
        self._seen = 0

    def put(self, path: str, data: bytes, container: str = "models") -> None:
        self.client.get_blob_client(container, path).upload_blob(data, overwrite=True)

    def put_folder(self, path: str, container: str = "models") -> None:
        """An empty blob that stands for a folder, as an account with a hierarchical namespace lists each."""
        marker = self.client.get_blob_client(container, path)
        marker.upload_blob(b"", overwrite=True, metadata={"hdi_isfolder": "true"})

    def names(self, container: str = "staging") -> list[str]:
        return sorted(self.client.get_container_client(container).list_blob_names())

    def requests(self) -> list[str]:
        """What was asked of the container `models` since the last call: `HEAD models/a.onnx`."""
        asked = self._server.requests()
        fresh, self._seen = asked[self._seen :], len(asked)
        return [line.replace(f"/{ACCOUNT}/", "") for line in fresh if f"/{ACCOUNT}/models/" in line]


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def storage(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """The account, signed in to by its key."""
    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", azurite.url)
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    with BlobServiceClient(azurite.url, credential=KEY) as client:
        for name in ("models", "staging"):
            client.create_container(name)
        storage = Storage(azurite, client)
        storage.requests()
        yield storage
        for name in ("models", "staging"):
            client.delete_container(name)


@pytest.fixture
def account(storage: Storage) -> BlobAccount:
    return BlobAccount.from_environment()


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is unreachable is asked once."""
    monkeypatch.setattr(account_module, "_RETRIES", 0)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that any library logs, down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    return caplog
