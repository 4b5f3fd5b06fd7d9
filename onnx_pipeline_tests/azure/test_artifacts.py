"""The artifact store in Azurite: the same promises as in a folder, and what only Blob has."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobClient

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import (
    InvalidModelError,
    ModelError,
    ModelNotFoundError,
    ModelUnavailableError,
    SpecError,
)
from onnx_pipeline.models import ArtifactStore, OnnxModel, azure_artifacts
from onnx_pipeline.models.azure_artifacts import BlobFiles
from onnx_pipeline.orchestration.resources import ArtifactStoreResource
from onnx_pipeline_tests.dagster.conftest import (  # noqa: F401 - fixtures
    DAYS,
    instance,
    linear_model,
    make_spec,
    no_waiting,
    project,
    runner,
)

PLACE = "az://staging/kept/models"
OTHER = {"weights": (-1.0, 3.0), "bias": 0.5}


@pytest.fixture(autouse=True)
def another_process(monkeypatch):
    """Nothing is remembered from the test before."""
    monkeypatch.setattr(azure_artifacts, "_remembered", azure_artifacts._Remembered())


@pytest.fixture
def original():
    return linear_model()


@pytest.fixture
def model(original):
    return OnnxModel.from_bytes(original)


@pytest.fixture
def store(storage, model, original):
    made = ArtifactStore.at(PLACE, home=paths.home())
    made.put(model, original)
    return made


def blobs(storage):
    """Every blob of the container: its ETag."""
    return {blob.name: blob.etag for blob in storage.client.get_container_client("staging").list_blobs()}


def damage(storage, name, how):
    blob = storage.client.get_blob_client("staging", name)
    content = blob.download_blob().readall()
    if how == "delete":
        blob.delete_blob()
    else:
        bad = content[: len(content) // 2] if how == "truncate" else bytes([content[0] ^ 1]) + content[1:]
        blob.upload_blob(bad, overwrite=True)


def test_a_kept_model_lies_under_its_sha256_and_comes_back_whole(storage, store, model, original):
    folder = f"kept/models/{hashlib.sha256(original).hexdigest()}"
    assert storage.names() == [f"{folder}/{name}" for name in ("facts.json", "model.onnx", "normalised.onnx")]
    assert storage.client.get_blob_client("staging", f"{folder}/model.onnx").download_blob().readall() == original
    assert store.get(model.sha256) == model
    assert store.original(model.sha256) == original


def test_keeping_again_writes_nothing_also_from_many_threads(storage, store, model, original):
    before = blobs(storage)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.put(model, original), range(8)))
    assert blobs(storage) == before


def test_of_many_that_keep_the_same_model_at_once_each_finds_it_whole(storage, model, original):
    def keep(_):
        one = ArtifactStore.at(PLACE, home=paths.home())
        one.put(model, original)
        return one.get(model.sha256)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(keep, range(12))) == [model] * 12
    assert len(storage.names()) == 3


@pytest.mark.parametrize("name", ["model.onnx", "normalised.onnx", "facts.json"])
@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_a_damaged_copy_is_an_error_and_keeping_the_model_mends_it(storage, store, model, original, name, how):
    damage(storage, f"kept/models/{model.sha256}/{name}", how)
    with pytest.raises((InvalidModelError, ModelNotFoundError), match=r"damaged|is kept in"):
        (store.original if name == "model.onnx" else store.get)(model.sha256)
    store.put(model, original)
    assert store.get(model.sha256) == model
    assert store.original(model.sha256) == original


def test_a_copy_damaged_after_this_process_read_it_is_seen(storage, store, model):
    assert store.get(model.sha256) == model
    damage(storage, f"kept/models/{model.sha256}/normalised.onnx", "flip")
    with pytest.raises(InvalidModelError, match="damaged"):
        store.get(model.sha256)


def test_a_copy_that_breaks_off_while_it_is_sent_is_none(storage, model, original, monkeypatch):
    def broken(self, *args, **options):
        self.stage_block("00000000", original[:100])
        raise ConnectionResetError("the network went away")

    monkeypatch.setattr(BlobClient, "upload_blob", broken)
    store = ArtifactStore.at(PLACE, home=paths.home())
    with pytest.raises(ConnectionResetError):
        store.put(model, original)
    assert storage.names() == []
    with pytest.raises(ModelNotFoundError, match=r"is kept in .*/staging/kept/models; materialize the model asset"):
        store.get(model.sha256)


def test_whoever_comes_second_takes_what_the_first_one_made(storage, monkeypatch):
    """Between the look and the write, another process makes the blob."""
    files = BlobFiles.at(PLACE)
    upload, refused = BlobClient.upload_blob, []

    def second(self, data, **options):
        if not refused:
            upload(self, data, **options)
        try:
            return upload(self, data, **options)
        except ResourceExistsError as error:
            refused.append(error)
            raise

    monkeypatch.setattr(BlobClient, "upload_blob", second)
    files.keep("a/b", b"content")
    assert len(refused) == 1
    assert files.read("a/b") == b"content"


def test_a_file_is_fetched_once_and_then_asked_whether_it_changed(storage, store, model, monkeypatch):
    downloaded = []
    readall = azure_artifacts._Remembered.put

    def counted(self, url, etag, content):
        downloaded.append(url.rpartition("/")[2])
        readall(self, url, etag, content)

    monkeypatch.setattr(azure_artifacts._Remembered, "put", counted)
    for _ in range(3):
        assert ArtifactStore.at(PLACE, home=paths.home()).get(model.sha256) == model
    assert downloaded == ["facts.json", "normalised.onnx"]


def test_no_more_than_a_bounded_size_is_remembered(monkeypatch):
    monkeypatch.setattr(azure_artifacts, "_REMEMBERED_BYTES", 100)
    remembered = azure_artifacts._Remembered()
    for number in range(5):
        remembered.put(str(number), "etag", bytes(40))
    assert [number for number in range(5) if remembered.get(str(number)) is not None] == [3, 4]
    remembered.put("large", "etag", bytes(101))
    assert remembered.get("large") is None


def test_each_scoring_points_at_its_current_model(storage, store, model):
    assert store.current("a/b") is None
    store.set_current("a/b", model.sha256, "az://models/m.onnx", "etag-1")
    store.set_current("a", model.sha256, "other.onnx", "etag-2")
    store.set_current("a", model.sha256, "other.onnx", "etag-3")
    elsewhere = ArtifactStore.at(PLACE, home=paths.home())
    assert elsewhere.current("a/b") == (model.sha256, "az://models/m.onnx", "etag-1")
    assert elsewhere.current("a") == (model.sha256, "other.onnx", "etag-3")
    storage.put("kept/models/current/a.json", b"{", container="staging")
    with pytest.raises(InvalidModelError, match=r"current/a\.json does not say.*materialize the model asset again"):
        elsewhere.current("a")


def test_facts_of_another_release_are_made_anew(storage, store, model):
    name = f"kept/models/{model.sha256}/facts.json"
    storage.put(name, json.dumps({"format": 0, "sha256": model.sha256}).encode(), container="staging")
    assert store.get(model.sha256) == model
    assert json.loads(storage.client.get_blob_client("staging", name).download_blob().readall()) == model.describe()


def test_a_container_that_does_not_exist_is_named(storage, model, original):
    nowhere = ArtifactStore.at("az://nowhere/models", home=paths.home())
    for use in (lambda: nowhere.put(model, original), lambda: nowhere.get(model.sha256)):
        with pytest.raises(ModelError, match="no such container"):
            use()


def test_an_account_that_does_not_answer_may_be_tried_later(storage, model, monkeypatch, no_second_try):
    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", "http://127.0.0.1:9/devstoreaccount1")
    away = ArtifactStore.at(PLACE, home=paths.home())
    for use in (lambda: away.get(model.sha256), lambda: away.current("visits")):
        with pytest.raises(ModelUnavailableError, match="does not answer"):
            use()


def test_the_environment_or_the_resource_names_the_place(storage, monkeypatch, project_home):
    assert ArtifactStoreResource().open()._files.place("x") == str(project_home / "data" / "artifacts" / "x")
    monkeypatch.setenv("ONNX_PIPELINE_ARTIFACTS", PLACE)
    assert ArtifactStoreResource().open()._files.place("x") == f"{storage.url}/staging/kept/models/x"
    assert ArtifactStoreResource(folder="az://models").open()._files.place("x") == f"{storage.url}/models/x"
    assert ArtifactStoreResource(folder="here").open()._files.place("x") == str(project_home / "here" / "x")
    with pytest.raises(SpecError, match="no name of a container"):
        ArtifactStoreResource(folder="az://X/y").open()


def test_a_run_on_another_machine_finds_the_model(storage, project, make_spec, runner, monkeypatch):  # noqa: F811
    """The model asset runs here; predictions run where neither the model's file nor any copy lies on the disk."""
    monkeypatch.setenv("ONNX_PIPELINE_ARTIFACTS", PLACE)
    spec = make_spec()
    assert runner.run(spec, only=["model"]).success
    project.model_file.unlink()
    assert not (project.home / "data" / "artifacts").exists()
    azure_artifacts._remembered = azure_artifacts._Remembered()
    assert runner.run(spec, only=["features", "predictions", "pool_predictions"], partition=DAYS[0]).success
    project.assert_scored(f"day = DATE '{DAYS[0]}'")
    assert {row[2] for row in project.target().values()} == {hashlib.sha256(linear_model()).hexdigest()}


def test_a_store_that_does_not_answer_is_tried_again_and_then_fails(
    storage,
    project,  # noqa: F811
    make_spec,  # noqa: F811
    runner,  # noqa: F811
    monkeypatch,
    no_second_try,
):
    monkeypatch.setenv("ONNX_PIPELINE_ARTIFACTS", PLACE)
    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", "http://127.0.0.1:9/devstoreaccount1")
    result = runner.run(make_spec(), only=["model"])
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 3
    assert "ModelUnavailableError" in runner.failure(result)
