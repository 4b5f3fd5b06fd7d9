"""Registered models, with a client in place of `MLClient` that answers as the service does."""

import datetime
import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from onnx_pipeline.base.errors import InvalidModelError, ModelNotFoundError, ModelUnavailableError, SpecError
from onnx_pipeline.models import open_store
from onnx_pipeline.models.azure_ml import AzureMlModelStore, RegisteredModel, connect

WORKSPACE = {"AZURE_SUBSCRIPTION_ID": "s-1", "AZURE_RESOURCE_GROUP": "wards", "AZUREML_WORKSPACE_NAME": "hospital"}
CREATED = datetime.datetime(2026, 1, 3, tzinfo=datetime.timezone.utc)


class FakeModels:
    """Versions of `length_of_stay`, as `MLClient.models` has them."""

    def __init__(self):
        self.versions = {"1": {"length_of_stay.onnx": b"one"}, "2": {"length_of_stay.onnx": b"two"}}
        self.created = dict.fromkeys(self.versions, CREATED)
        self.downloads = 0

    def get(self, name, version=None, label=None):
        assert (version is None) != (label is None)
        version = max(self.versions) if label == "latest" else version
        if name != "length_of_stay" or version not in self.versions:
            response = SimpleNamespace(status_code=404, reason="Not Found", headers={}, text=lambda: "")
            raise ResourceNotFoundError("(UserError) not found", response=response)
        context = SimpleNamespace(created_at=self.created[version])
        return SimpleNamespace(name=name, version=version, creation_context=context)

    def download(self, name, version, download_path="."):
        self.downloads += 1
        for path, content in self.versions[version].items():
            file = Path(download_path) / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


@pytest.fixture
def models():
    return FakeModels()


@pytest.fixture
def store(models):
    return AzureMlModelStore(lambda model: SimpleNamespace(models=models))


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("azureml://models/m/versions/3", RegisteredModel(None, "m", "3", None)),
        ("azureml://models/m/labels/latest", RegisteredModel(None, "m", None, "latest")),
        ("azureml://registries/r/models/m/versions/3", RegisteredModel("r", "m", "3", None)),
        ("azureml://registries/r/models/m/labels/latest", RegisteredModel("r", "m", None, "latest")),
    ],
)
def test_a_uri_names_a_model_in_a_workspace_or_a_registry(uri, named):
    assert RegisteredModel.parse(uri) == named


@pytest.mark.parametrize(
    "uri", ["azureml://models/m", "azureml://m/versions/1", "azureml://models/m/versions/1/a.onnx"]
)
def test_another_form_is_refused(uri):
    with pytest.raises(SpecError, match="azureml://models/<name>/versions/<version>"):
        open_store(uri).etag(uri)


def test_a_version_is_read_and_its_token_costs_no_download(store, models):
    uri = "azureml://models/length_of_stay/versions/1"
    etag = store.etag(uri)
    assert models.downloads == 0
    assert " " not in etag
    assert store.read(uri) == (b"one", etag)
    assert models.downloads == 1


def test_the_latest_version_changes_the_token(store, models):
    uri = "azureml://models/length_of_stay/labels/latest"
    etag = store.etag(uri)
    assert store.read(uri) == (b"two", etag)
    models.versions["3"], models.created["3"] = {"length_of_stay.onnx": b"three"}, CREATED
    assert store.etag(uri) != etag
    assert store.fetch(uri) == b"three"


def test_a_version_that_was_made_anew_changes_the_token(store, models):
    uri = "azureml://models/length_of_stay/versions/1"
    etag = store.etag(uri)
    models.created["1"] = CREATED + datetime.timedelta(seconds=1)
    assert store.etag(uri) != etag


def test_a_folder_with_one_onnx_file_is_a_model(store, models):
    models.versions["1"] = {"mlflow/MLmodel": b"yaml", "mlflow/model.onnx": b"onnx"}
    assert store.fetch("azureml://models/length_of_stay/versions/1") == b"onnx"


@pytest.mark.parametrize(
    ("files", "message"), [({"a.pkl": b""}, "holds 0 files"), ({"a.onnx": b"", "b.onnx": b""}, "a.onnx")]
)
def test_a_folder_with_none_or_several_is_refused(store, models, files, message):
    models.versions["1"] = files
    with pytest.raises(InvalidModelError, match=message):
        store.fetch("azureml://models/length_of_stay/versions/1")


def answer(status, message="no"):
    response = SimpleNamespace(status_code=status, reason=message, headers={}, text=lambda: message)
    return HttpResponseError(message, response=response)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (answer(403), ModelNotFoundError, "AzureML Data Scientist"),
        (ClientAuthenticationError("DefaultAzureCredential failed"), ModelNotFoundError, "az login"),
        (answer(503), ModelUnavailableError, "try again later"),
        (ServiceRequestError("GET https://x/a?sv=1&sig=hush failed"), ModelUnavailableError, "does not answer"),
        (answer(409, "GET https://x/a?sv=1&sig=hush failed"), ModelNotFoundError, "refused the request"),
    ],
)
def test_failures_say_whether_they_may_pass_and_hold_no_signature(store, models, monkeypatch, error, kind, message):
    monkeypatch.setattr(models, "download", lambda **_: (_ for _ in ()).throw(error))
    with pytest.raises(kind, match=message) as caught:
        store.read("azureml://models/length_of_stay/versions/1")
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("uri", ["azureml://models/length_of_stay/versions/9", "azureml://models/other/labels/latest"])
def test_a_model_that_is_not_registered_is_named(store, uri):
    for method in (store.etag, store.read):
        with pytest.raises(ModelNotFoundError, match=f"{uri}.*no such model or version"):
            method(uri)


def test_a_workspace_that_the_environment_does_not_name_says_what_to_set(monkeypatch):
    for name in WORKSPACE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "wards")
    with pytest.raises(SpecError, match="set AZURE_SUBSCRIPTION_ID, AZUREML_WORKSPACE_NAME, or name a registry"):
        open_store("azureml://").etag("azureml://models/m/versions/1")


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.ai.ml", None)
    with pytest.raises(SpecError, match=r"pip install 'onnx-pipeline\[azureml\]'"):
        open_store("azureml://").etag("azureml://registries/r/models/m/versions/1")


@pytest.mark.filterwarnings("ignore")  # what azure-ai-ml imports warns of itself
def test_the_real_client_takes_what_the_fake_one_takes(monkeypatch):
    ml = pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is not installed: pip install 'onnx-pipeline[azureml]'")
    from azure.ai.ml.operations import ModelOperations

    for name in ("get", "download"):
        fake, real = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (FakeModels, ModelOperations))
        assert fake == real
    for name, value in WORKSPACE.items():
        monkeypatch.setenv(name, value)
    client = connect(RegisteredModel.parse("azureml://models/m/versions/1"))
    assert isinstance(client, ml.MLClient)
    assert (client.subscription_id, client.resource_group_name, client.workspace_name) == tuple(WORKSPACE.values())
