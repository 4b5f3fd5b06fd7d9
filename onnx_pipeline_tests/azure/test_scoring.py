"""A scoring whose model lies in Blob, run by Dagster in this process against the embedded pool."""

import hashlib

import dagster as dg
import pytest

from onnx_pipeline.orchestration.resources import ArtifactStoreResource, default_resources
from onnx_pipeline_tests.dagster.conftest import (  # noqa: F401 - fixtures
    DAYS,
    definitions,
    instance,
    linear_model,
    make_spec,
    no_waiting,
    project,
    runner,
)

URI = "az://models/length_of_stay.onnx"
BLOB = "models/length_of_stay.onnx"
OTHER = {"weights": (-1.0, 3.0), "bias": 0.5}


@pytest.fixture
def spec(storage, make_spec):  # noqa: F811
    storage.put("length_of_stay.onnx", linear_model())
    storage.requests()
    return make_spec(onnx=URI, rescore="all")


def test_a_model_in_blob_scores(storage, spec, project, runner):  # noqa: F811
    result = runner.run(spec, partition=DAYS[0])
    assert result.success
    project.assert_scored(f"day = DATE '{DAYS[0]}'")
    (shown,) = runner.materialized(result, "model").values()
    assert shown["uri"].value == URI
    assert shown["sha256"].value == hashlib.sha256(linear_model()).hexdigest()
    assert storage.requests() == [f"HEAD {BLOB}", f"GET {BLOB}"]


def test_an_unchanged_model_is_not_fetched_again(storage, spec, project, runner):  # noqa: F811
    runner.run(spec, partition=DAYS[0])
    storage.requests()
    assert runner.run(spec, partition=DAYS[1]).success
    assert storage.requests() == [f"HEAD {BLOB}"]
    assert len(project.target()) == 100


def test_a_replaced_model_scores_from_the_next_run_on(storage, spec, project, runner):  # noqa: F811
    runner.run(spec, partition=DAYS[0])
    storage.put("length_of_stay.onnx", linear_model(**OTHER))
    storage.requests()
    assert runner.run(spec, partition=DAYS[0]).success
    assert storage.requests() == [f"HEAD {BLOB}", f"GET {BLOB}"]
    project.assert_scored(f"day = DATE '{DAYS[0]}'", **OTHER)


@pytest.fixture
def tick(spec, instance):  # noqa: F811
    """Evaluates the sensor of new models: its run requests and the reason why it has none. The cursor goes on."""
    sensor = definitions(spec).resolve_sensor_def("visits_new_model")
    cursor = None

    def evaluate():
        nonlocal cursor
        resources = {name: resource for name, resource in default_resources().items() if name in ("pool", "artifacts")}
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
            data = sensor.evaluate_tick(context)
        cursor = data.cursor
        return data.run_requests or [], data.skip_message

    return evaluate


def test_a_tick_without_news_costs_one_head(storage, spec, runner, tick):  # noqa: F811
    runner.run(spec, first=DAYS[0], last=DAYS[-1])
    storage.requests()
    for _ in range(2):
        requested, why = tick()
        assert not requested
        assert "no partition" in why
        assert storage.requests() == [f"HEAD {BLOB}"]


def test_the_sensor_sees_a_replaced_model_and_reads_it_once(storage, spec, runner, tick):  # noqa: F811
    runner.run(spec, first=DAYS[0], last=DAYS[-1])
    storage.put("length_of_stay.onnx", linear_model(**OTHER))
    storage.requests()
    (request,), _ = tick()
    assert request.asset_selection == [dg.AssetKey(["visits", "model"])]
    assert storage.requests() == [f"HEAD {BLOB}", f"GET {BLOB}"]
    # Until its run has ended, also where the model is refused, the artifact is known by its ETag.
    requested, why = tick()
    assert not requested
    assert "was asked for already" in why
    assert storage.requests() == [f"HEAD {BLOB}"]
    assert runner.run(spec, only=["model"]).success
    (request,), _ = tick()
    assert request.tags["onnx_pipeline/reason"] == "model changed"


def test_a_model_sensor_without_its_model_skips_and_says_why(storage, spec, tick):
    storage.client.get_blob_client("models", "length_of_stay.onnx").delete_blob()
    requested, why = tick()
    assert not requested
    assert "ModelNotFoundError: no model lies at az://models/length_of_stay.onnx" in why


def test_an_account_that_does_not_answer_is_tried_again_and_then_fails(spec, runner, monkeypatch, no_second_try):  # noqa: F811
    monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", "http://127.0.0.1:9/devstoreaccount1")
    result = runner.run(spec, only=["model"])
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 3
    assert "ModelUnavailableError" in runner.failure(result)


def test_a_model_replaced_between_the_head_and_the_read_is_kept_under_its_own_etag(storage, spec, runner, monkeypatch):  # noqa: F811
    from onnx_pipeline.models.azure_blob import BlobModelStore

    asked = BlobModelStore.etag

    def replaced_just_after(self, uri):
        etag = asked(self, uri)
        storage.put("length_of_stay.onnx", linear_model(**OTHER))
        return etag

    monkeypatch.setattr(BlobModelStore, "etag", replaced_just_after)
    assert runner.run(spec, only=["model"]).success
    current = ArtifactStoreResource().open().current("visits")
    assert current.sha256 == hashlib.sha256(linear_model(**OTHER)).hexdigest()
    assert current.etag == asked(BlobModelStore(), URI)
