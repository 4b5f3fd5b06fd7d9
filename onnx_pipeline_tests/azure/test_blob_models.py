import pytest
from azure.storage.blob import BlobClient

from onnx_pipeline.base.errors import ModelNotFoundError, ModelUnavailableError, SpecError
from onnx_pipeline.models import OnnxModel, open_store
from onnx_pipeline_tests.azure.azurite import KEY

URI = "az://models/wards/length_of_stay.onnx"


def test_a_model_is_read_whole_with_the_etag_that_a_head_tells(storage):
    data = bytes(range(256)) * 200_000  # 51 MB, several parts
    storage.put("wards/length_of_stay.onnx", data)
    store = open_store(URI)
    storage.requests()
    etag = store.etag(URI)
    assert storage.requests() == ["HEAD models/wards/length_of_stay.onnx"]
    assert store.read(URI) == (data, etag)
    assert " " not in etag
    assert '"' not in etag


def test_the_etag_changes_when_the_blob_is_replaced(storage):
    storage.put("wards/length_of_stay.onnx", b"one")
    store = open_store(URI)
    first = store.etag(URI)
    assert store.etag(URI) == first
    storage.put("wards/length_of_stay.onnx", b"one")
    assert store.etag(URI) != first


def test_a_path_is_taken_as_it_stands(storage):
    storage.put("é 100%#1.onnx", b"bytes")
    assert open_store("az://models").fetch("az://models/é 100%#1.onnx") == b"bytes"


def test_a_notebook_loads_a_model_from_blob(storage, weighted_sum):
    model = weighted_sum({"a": 2.0})
    storage.put("sum.onnx", model.normalised)
    assert OnnxModel.load("az://models/sum.onnx").signature == model.signature


def test_a_blob_replaced_while_it_is_read_gives_one_version_and_its_etag(storage, monkeypatch):
    """The second part is asked for after the blob was replaced; the client's If-Match refuses it, and all is read anew."""
    old, new = b"o" * 40_000_000, b"n" * 40_000_000
    storage.put("wards/length_of_stay.onnx", old)
    download, replaced = BlobClient.download_blob, []

    def replace_after_the_first_part(self, *args, **options):
        first_part = download(self, *args, **options)
        if not replaced:
            replaced.append(True)
            storage.put("wards/length_of_stay.onnx", new)
        return first_part

    monkeypatch.setattr(BlobClient, "download_blob", replace_after_the_first_part)
    store = open_store(URI)
    artifact = store.read(URI)
    assert artifact.data == new
    assert artifact.etag == store.etag(URI)


def test_a_blob_that_is_always_replaced_may_be_tried_later(storage, monkeypatch):
    data = b"o" * 40_000_000
    storage.put("wards/length_of_stay.onnx", data)
    download = BlobClient.download_blob

    def replace(self, *args, **options):
        first_part = download(self, *args, **options)
        storage.put("wards/length_of_stay.onnx", data)
        return first_part

    monkeypatch.setattr(BlobClient, "download_blob", replace)
    with pytest.raises(ModelUnavailableError, match="was replaced 3 times"):
        open_store(URI).read(URI)


@pytest.mark.parametrize("method", ["etag", "read"])
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("az://models/modle.onnx", "no model lies at az://models/modle.onnx.*beside it lie model.onnx"),
        ("az://models/wards/model.onnx", r"no such blob; correct the URI"),
        ("az://no-models/model.onnx", "no such container"),
        ("az://models", "is a container; name the .onnx file"),
    ],
)
def test_what_is_missing_is_named(storage, method, uri, message):
    storage.put("model.onnx", b"bytes")
    with pytest.raises(ModelNotFoundError, match=message):
        getattr(open_store(uri), method)(uri)


@pytest.mark.parametrize("method", ["etag", "read"])
def test_a_folder_is_no_model_though_a_blob_stands_for_it(storage, method):
    storage.put_folder("saved.onnx")
    storage.put("saved.onnx/model.onnx", b"bytes")
    with pytest.raises(ModelNotFoundError, match=r"saved\.onnx is a folder; name the \.onnx file in it"):
        getattr(open_store("az://models/saved.onnx"), method)("az://models/saved.onnx")
    with pytest.raises(ModelNotFoundError, match=r"beside it lie saved\.onnx/model\.onnx; correct"):
        open_store("az://models/x.onnx").read("az://models/x.onnx")


def test_without_an_account_the_error_says_which_variable_to_set():
    with pytest.raises(SpecError, match="ONNX_PIPELINE_BLOB_ACCOUNT_URL"):
        open_store(URI).etag(URI)


def test_each_sign_in_reads(storage, monkeypatch):
    storage.put("model.onnx", b"bytes")
    uri = "az://models/model.onnx"
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", shared_access())
    assert open_store(uri).fetch(uri) == b"bytes"
    for name in ("AZURE_STORAGE_SAS_TOKEN", "ONNX_PIPELINE_BLOB_ACCOUNT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={storage.url};",
    )
    assert open_store(uri).fetch(uri) == b"bytes"


def shared_access(permission="rl"):
    """A SAS of the whole account, for an hour."""
    import datetime

    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return generate_account_sas(
        "devstoreaccount1",
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions.from_string(permission),
        datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
    )
