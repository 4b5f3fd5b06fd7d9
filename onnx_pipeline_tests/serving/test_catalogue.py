"""Which models are served: where they come from, and what happens when they change, break or leave."""

import hashlib

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.serving import Catalogue
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline_tests.azure.conftest import azurite, no_account, storage  # noqa: F401 - fixtures
from onnx_pipeline_tests.models import bad_models
from onnx_pipeline_tests.serving.conftest import line_model


def put(folder, name, weight):
    """Replaces a model as careful people do, by a rename; gives its sha256."""
    data = line_model(weight) if isinstance(weight, float | int) else weight
    beside = folder / f".{name}.new"
    beside.write_bytes(data)
    beside.rename(folder / f"{name}.onnx")
    return hashlib.sha256(data).hexdigest()


def scored(service, name, value=1):
    return service.score(name, [{"a": value}]).json()[0]["y"]


def test_a_folder_serves_each_of_its_models_and_those_that_come_later(open_service, tmp_path):
    put(tmp_path, "one", 1)
    (tmp_path / "notes.txt").write_text("no model")
    service = open_service(tmp_path)
    assert list(service.app.catalogue.entries) == ["one"]
    put(tmp_path, "two", 2)
    service.app.catalogue.refresh()
    assert (scored(service, "one"), scored(service, "two")) == (1, 2)


def test_names_may_be_given_to_paths_and_uris(open_service, tmp_path):
    put(tmp_path, "a=b", 3)
    path = tmp_path / "a=b.onnx"
    service = open_service(f"named={path}", f"other={path.as_uri()}")
    assert (scored(service, "named"), scored(service, "other")) == (3, 3)


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ([], "nothing to serve"),
        (["x=a.onnx", "x=b.onnx"], "two models are named 'x'"),
        (["azureml://models/m/versions/1"], "<name>=azureml://"),
        (["models/with space.onnx"], "cannot stand in a URL"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(models, reason):
    with pytest.raises(SpecError, match=reason):
        Catalogue(models)


def test_a_model_that_cannot_load_is_503_and_the_others_are_served(open_service, tmp_path, caplog):
    put(tmp_path, "good", 2)
    put(tmp_path, "bad", b"this is no model")
    service = open_service(tmp_path)
    assert scored(service, "good") == 2
    answer = service.score("bad", [{"a": 1}])
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "model_failed"
    assert "InvalidModelError" in answer.json()["error"]["message"] and int(answer.headers["retry-after"]) >= 1
    assert str(tmp_path) not in answer.text
    assert service.get("/readyz").json() == {"ready": True, "models": {"bad": "failed", "good": "ready"}}
    (line,) = [record for record in caplog.records if record.getMessage() == "model_not_loaded"]
    assert line.model == "bad" and str(tmp_path) in line.why
    put(tmp_path, "bad", 5)
    service.app.catalogue.refresh()
    assert scored(service, "bad") == 5


def test_a_model_that_aborts_its_process_leaves_the_others_served_and_its_readiness_says_why(open_service, tmp_path):
    put(tmp_path, "aborts", bad_models.one_class_forest())
    put(tmp_path, "good", 2)
    service = open_service(tmp_path)
    assert scored(service, "good") == 2
    answer = service.get("/v2/models/aborts/ready")
    assert answer.status_code == 503
    assert "SIGABRT" in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert service.get("/v2/models/good/ready").json() == {"name": "good", "ready": True}


def test_a_broken_model_is_tried_once_per_artifact(open_service, tmp_path, monkeypatch):
    from onnx_pipeline.models import OnnxModel

    put(tmp_path, "bad", b"this is no model")
    service = open_service(tmp_path)
    monkeypatch.setattr(OnnxModel, "from_bytes", lambda *_, **__: pytest.fail("it was tried again"))
    service.app.catalogue.refresh()


def test_a_model_whose_loading_crashes_in_any_way_takes_nothing_with_it(open_service, tmp_path, monkeypatch):
    from onnx_pipeline.models import OnnxModel

    put(tmp_path, "crash", 1)
    put(tmp_path, "good", 2)
    load = OnnxModel.from_bytes.__func__

    def crash(data, *, source, options):
        if "crash" in source:
            raise ZeroDivisionError
        return load(OnnxModel, data, source=source, options=options)

    monkeypatch.setattr(OnnxModel, "from_bytes", crash)
    service = open_service(tmp_path)
    assert scored(service, "good") == 2
    assert service.score("crash", []).json()["error"]["code"] == "model_failed"


def test_a_changed_artifact_is_served_from_the_next_look_on(open_service, tmp_path):
    first = put(tmp_path, "line", 2)
    service = open_service(tmp_path)
    assert service.score("line", []).headers["x-onnx-model-sha256"] == first
    second = put(tmp_path, "line", 3)
    assert scored(service, "line") == 2
    service.app.catalogue.refresh()
    assert scored(service, "line") == 3
    assert service.score("line", []).headers["x-onnx-model-sha256"] == second


def test_a_corrupt_replacement_leaves_the_served_one_in_its_place(open_service, tmp_path):
    put(tmp_path, "line", 2)
    service = open_service(tmp_path)
    put(tmp_path, "line", line_model(3)[:-20])
    service.app.catalogue.refresh()
    assert scored(service, "line") == 2
    (listed,) = service.get("/models").json()["models"]
    assert (listed["state"], listed["failure"]) == ("ready", "InvalidModelError")
    put(tmp_path, "line", 4)
    service.app.catalogue.refresh()
    assert scored(service, "line") == 4
    assert service.get("/models").json()["models"][0]["failure"] is None


def test_a_store_that_does_not_answer_leaves_the_model_served_and_is_forgotten_once_it_does(
    open_service, tmp_path, monkeypatch
):
    from onnx_pipeline.base.errors import ModelUnavailableError
    from onnx_pipeline.models import FileModelStore

    put(tmp_path, "line", 2)
    service = open_service(f"line={tmp_path / 'line.onnx'}")
    with monkeypatch.context() as broken:

        def unavailable(self, uri):
            raise ModelUnavailableError("the store is away")

        broken.setattr(FileModelStore, "etag", unavailable)
        service.app.catalogue.refresh()
        assert scored(service, "line") == 2
        assert service.get("/models").json()["models"][0]["failure"] == "ModelUnavailableError"
    service.app.catalogue.refresh()
    assert service.get("/models").json()["models"][0]["failure"] is None


def test_a_model_that_left_the_folder_leaves_after_two_looks(open_service, tmp_path):
    """One that is replaced by removing and writing it is gone for a moment only."""
    put(tmp_path, "line", 2)
    service = open_service(tmp_path)
    (tmp_path / "line.onnx").unlink()
    service.app.catalogue.refresh()
    assert scored(service, "line") == 2
    service.app.catalogue.refresh()
    assert service.score("line", []).status_code == 404


def test_before_the_first_look_every_model_is_503_and_the_service_is_not_ready(tmp_path):
    put(tmp_path, "line", 2)
    catalogue = Catalogue([str(tmp_path)])
    assert not catalogue.ready
    for name in ("line", "other", None):
        with pytest.raises(Refusal) as refused:
            catalogue.get(name)
        assert (refused.value.status, refused.value.code) == (503, "loading")
        assert refused.value.retry_after


def test_a_folder_without_models_is_said_once_in_the_log(open_service, tmp_path, caplog):
    service = open_service(tmp_path)
    service.app.catalogue.refresh()
    (record,) = [record for record in caplog.records if record.message == "no_models"]
    assert record.uris == [str(tmp_path)]
    assert service.get("/readyz").status_code == 503


def test_a_folder_that_is_not_there_is_not_ready_and_is_looked_for_again(open_service, tmp_path):
    service = open_service(tmp_path / "later")
    assert service.get("/readyz").status_code == 503
    (tmp_path / "later").mkdir()
    put(tmp_path / "later", "line", 2)
    service.app.catalogue.refresh()
    assert service.get("/readyz").status_code == 200


def test_a_blob_that_stands_for_a_folder_is_no_model(open_service, storage):  # noqa: F811 - a fixture
    storage.put("line.onnx", line_model(2))
    storage.put_folder("team.onnx")
    storage.put("team.onnx/other.onnx", line_model(7))
    storage.put("old.onnx/", b"")
    service = open_service("az://models")
    assert list(service.app.catalogue.entries) == ["line"]
    assert service.get("/readyz").status_code == 200


def test_a_container_in_blob_storage_is_a_folder_too(open_service, storage):  # noqa: F811 - a fixture
    storage.put("line.onnx", line_model(2))
    storage.put("team/other.onnx", line_model(7))
    service = open_service("az://models")
    assert scored(service, "line") == 2 and list(service.app.catalogue.entries) == ["line"]
    nested = open_service("az://models/team")
    assert scored(nested, "other") == 7
    storage.requests()
    service.app.catalogue.refresh()
    assert not [line for line in storage.requests() if line.startswith("GET models/line.onnx")]
    storage.put("line.onnx", line_model(3))
    service.app.catalogue.refresh()
    assert scored(service, "line") == 3
