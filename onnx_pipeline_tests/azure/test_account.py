import pytest

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.azure.location import BlobLocation
from onnx_pipeline.base.errors import SpecError

HOST = "https://wards.blob.core.windows.net"
NAME = "ONNX_PIPELINE_BLOB_ACCOUNT_URL"
STRING = "AZURE_STORAGE_CONNECTION_STRING"


@pytest.mark.parametrize(
    ("environment", "url", "sign_in", "secret"),
    [
        ({NAME: HOST}, HOST, "DefaultAzureCredential", None),
        ({NAME: f"{HOST}/models/"}, HOST, "DefaultAzureCredential", None),
        ({NAME: "https://wards.dfs.core.windows.net"}, HOST, "DefaultAzureCredential", None),
        ({NAME: HOST, "AZURE_STORAGE_KEY": "a2V5"}, HOST, "account key", "a2V5"),
        ({NAME: HOST, "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}, HOST, "SAS", "sv=1&sig=x"),
        ({NAME: f"{HOST}?sv=1&sig=x", "AZURE_STORAGE_KEY": "a2V5"}, HOST, "SAS", "sv=1&sig=x"),
        ({NAME: HOST, STRING: "AccountName=other;AccountKey=a2V5"}, HOST, "DefaultAzureCredential", None),
        (
            {STRING: "AccountName=wards;AccountKey=a2V5==;EndpointSuffix=core.windows.net"},
            HOST,
            "account key",
            "a2V5==",
        ),
        ({STRING: f"BlobEndpoint={HOST}/;SharedAccessSignature=sv=1&sig=x"}, HOST, "SAS", "sv=1&sig=x"),
        (
            {NAME: "http://azurite:10000/wards/models", "AZURE_STORAGE_KEY": "a2V5"},
            "http://azurite:10000/wards",
            "account key",
            "a2V5",
        ),
    ],
)
def test_the_environment_names_account_and_sign_in(environment, url, sign_in, secret):
    account = BlobAccount.from_environment(environment)
    assert (account.url, account.sign_in, account.secret) == (url, sign_in, secret)
    assert account.name == "wards"
    assert secret is None or secret not in repr(account)


def test_the_development_account_is_azurites_own():
    account = BlobAccount.from_environment({STRING: "UseDevelopmentStorage=true"})
    assert account.url == "http://127.0.0.1:10000/devstoreaccount1"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PATH": "/bin"}, "names no storage account.*ONNX_PIPELINE_BLOB_ACCOUNT_URL"),
        ({NAME: "wards?sig=hush"}, "is no URL of a storage account"),
        ({NAME: "https://me:hush@wards.blob.core.windows.net"}, "is no URL of a storage account"),
        ({NAME: "http://127.0.0.1:10000"}, "names no account"),
        ({STRING: "AccountKey=hush"}, "needs AccountName"),
    ],
)
def test_an_environment_that_cannot_work_is_refused_without_its_secret(environment, message):
    with pytest.raises(SpecError, match=message) as caught:
        BlobAccount.from_environment(environment)
    assert "hush" not in str(caught.value)


def test_a_token_is_not_sent_in_the_clear():
    with pytest.raises(SpecError, match="over https only"), BlobAccount("http://azurite:10000/wards").service():
        pass


def test_the_accounts_secret_goes_to_no_other_account(monkeypatch):
    monkeypatch.setenv(NAME, HOST)
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert BlobAccount.named(None).secret == "a2V5"
    assert BlobAccount.named("https://wards.dfs.core.windows.net").secret == "a2V5"
    assert BlobAccount.named("https://other.blob.core.windows.net") == BlobAccount(
        "https://other.blob.core.windows.net"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/blob",
        "https://wards.blob.core.windows.net.example.com",
        "http://wards.blob.core.windows.net",
        "https://wards.blob.example.com",
    ],
)
def test_no_sign_in_is_sent_to_a_host_that_is_not_azures(url):
    with pytest.raises(SpecError, match="no sign-in is sent there"):
        BlobAccount.named(url)


@pytest.mark.parametrize(
    ("uri", "account", "container", "path"),
    [
        ("az://models/a.onnx", None, "models", "a.onnx"),
        ("az://models/wards/é 100%#1.onnx", None, "models", "wards/é 100%#1.onnx"),
        (
            "abfss://models@wards.dfs.core.windows.net/x/a.onnx",
            "https://wards.dfs.core.windows.net",
            "models",
            "x/a.onnx",
        ),
        (
            "https://wards.blob.core.windows.net/models/a%20b.onnx",
            "https://wards.blob.core.windows.net",
            "models",
            "a b.onnx",
        ),
        ("az://models", None, "models", ""),
    ],
)
def test_a_uri_names_account_container_and_path(uri, account, container, path):
    assert BlobLocation.parse(uri) == BlobLocation(account, container, path)


@pytest.mark.parametrize("uri", ["az://ab/x.onnx", "az:///x.onnx", "az://Models/x.onnx", "az://a--b/x.onnx"])
def test_a_container_that_cannot_exist_is_refused(uri):
    with pytest.raises(SpecError, match="no name of a container"):
        BlobLocation.parse(uri)


@pytest.mark.parametrize("uri", ["s3://models/a.onnx", "models/a.onnx", "abfs"])
def test_a_place_that_is_not_in_azure_is_refused(uri):
    with pytest.raises(SpecError, match="is no place in Azure Blob"):
        BlobLocation.parse(uri)


def test_a_signature_in_a_uri_is_refused_and_not_repeated():
    with pytest.raises(SpecError, match="AZURE_STORAGE_SAS_TOKEN") as caught:
        BlobLocation.parse("https://wards.blob.core.windows.net/models/a.onnx?sv=1&sig=hush")
    assert "hush" not in str(caught.value)


def test_urls_for_copy_into_are_escaped():
    account = BlobAccount(HOST)
    assert account.blob_url("staging", "a b/c") == f"{HOST}/staging/a%20b/c"
    assert account.dfs_url("staging", "a") == "https://wards.dfs.core.windows.net/staging/a"
