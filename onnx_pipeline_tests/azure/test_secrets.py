"""A key and a SAS are looked for in everything that failing says: messages, the chain behind them, and every log."""

import base64
import socket
import traceback
from urllib.parse import parse_qs, quote

import dagster as dg
import pytest

from onnx_pipeline.base.errors import ModelNotFoundError, ModelUnavailableError, OnnxPipelineError
from onnx_pipeline.models import open_store
from onnx_pipeline.orchestration.resources import default_resources
from onnx_pipeline.pools.synapse.blob_folder import BlobStaging
from onnx_pipeline_tests.azure.test_blob_models import shared_access

FAKE_KEY = base64.b64encode(b"a key that nobody has, 32 bytes!" * 2).decode()
FAKE_SAS = "sv=2025-01-05&ss=b&srt=sco&sp=rl&se=2099-01-01T00%3A00%3A00Z&sig=" + quote(
    base64.b64encode(b"a signature nobody made, 32 bytes").decode(), safe=""
)
URI = "az://models/model.onnx"
NOBODY = "http://127.0.0.1:9/devstoreaccount1"
"""Port 9 is reserved for discarding, and nothing listens there."""


def secret_forms(secret):
    parts = [secret, *parse_qs(secret).get("sig", [])]
    return {form for part in parts for form in (part, quote(part), quote(part, safe=""))}


def assert_hushed(text, secret):
    for form in secret_forms(secret):
        assert form not in text


@pytest.fixture(params=["account key", "SAS"])
def secret(request, storage, monkeypatch):
    """The environment with a sign-in that the account refuses."""
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    name, value = {"account key": ("AZURE_STORAGE_KEY", FAKE_KEY), "SAS": ("AZURE_STORAGE_SAS_TOKEN", FAKE_SAS)}[
        request.param
    ]
    monkeypatch.setenv(name, value)
    return value


def failing(method):
    with pytest.raises(OnnxPipelineError) as caught:
        method()
    return caught.value, "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("method", ["etag", "read"])
def test_a_refused_sign_in(secret, everything_logged, method):
    store = open_store(URI)
    error, text = failing(lambda: getattr(store, method)(URI))
    assert type(error) is ModelNotFoundError
    assert "refused the sign-in" in str(error)
    assert_hushed(text, secret)
    assert "model.onnx" in everything_logged.text
    assert_hushed(everything_logged.text, secret)


@pytest.mark.parametrize("method", ["etag", "read"])
def test_an_account_that_does_not_answer_may_be_tried_later(
    secret, everything_logged, monkeypatch, no_second_try, method
):
    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", NOBODY)
    store = open_store(URI)
    error, text = failing(lambda: getattr(store, method)(URI))
    assert type(error) is ModelUnavailableError
    assert error.transient
    assert NOBODY in str(error)
    assert_hushed(text, secret)
    assert_hushed(everything_logged.text, secret)


def test_an_account_that_no_name_server_knows_is_not_tried_again(secret, everything_logged, monkeypatch, no_second_try):
    def denied(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", "https://nosuchaccount.blob.core.windows.net")
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    store = open_store(URI)
    error, text = failing(lambda: store.read(URI))
    assert type(error) is ModelNotFoundError
    assert "nosuchaccount.blob.core.windows.net cannot be reached: no host has that name" in str(error)
    assert_hushed(text, secret)
    assert_hushed(everything_logged.text, secret)


def test_a_missing_container_seen_with_a_good_sas(storage, everything_logged, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    token = shared_access()
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", token)
    for uri in ("az://no-models/model.onnx", "az://models/model.onnx"):
        error, text = failing(lambda uri=uri: open_store(uri).read(uri))
        assert "no such" in str(error)
        assert_hushed(text, token)
    assert_hushed(everything_logged.text, token)


def test_staging_hushes_as_well(secret, everything_logged, monkeypatch, no_second_try):
    for url in (None, NOBODY):
        if url is not None:
            monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", url)
        staging = BlobStaging.at("az://staging/onnx")
        folder = staging.folder("visits", "run", 1, "all")
        _, text = failing(folder.delete)
        _, swept = failing(lambda staging=staging: staging.sweep(1, list))
        assert_hushed(text + swept + repr(staging) + repr(folder), secret)
    assert_hushed(everything_logged.text, secret)


def test_dagsters_resource_reads_the_same_account_and_shows_no_secret(storage, secret, monkeypatch):
    from dagster_azure.blob import AzureBlobStorageResource

    resource = default_resources()["azure_blob"]
    assert isinstance(resource, AzureBlobStorageResource)
    repository = dg.Definitions(resources=default_resources()).get_repository_def()
    configured = repr(resource) + repr(repository.get_top_level_resources()["azure_blob"].config_schema.default_value)
    assert storage.url in configured
    assert_hushed(configured, secret)
    with resource.get_client() as client:
        assert client.url.rstrip("/").startswith(storage.url)


def test_without_an_account_definitions_have_no_azure_resource():
    assert "azure_blob" not in default_resources()
