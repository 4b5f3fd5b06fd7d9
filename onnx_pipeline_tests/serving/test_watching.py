"""What an operator sees: metrics and log lines, and nothing of the rows in either."""

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from onnx_pipeline.sample import MODELS
from onnx_pipeline.serving.logs import JsonLines
from onnx_pipeline_tests.serving.conftest import LOS, READMISSION, features_of, records_of


def metrics_of(service):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(service.get("/metrics").text)
        for sample in family.samples
    }


def test_metrics_count_requests_rows_and_loads(service, encounters):
    rows = records_of(features_of(MODELS / f"{LOS}.onnx", encounters))
    service.score(LOS, rows)
    service.arrow(LOS, features_of(MODELS / f"{LOS}.onnx", encounters))
    service.score(LOS, {})
    found = metrics_of(service)
    json_labels = (("format", "json"), ("model", LOS))
    assert found["onnx_serving_requests_total", (*json_labels, ("status", "200"))] == 1
    assert found["onnx_serving_requests_total", (*json_labels, ("status", "400"))] == 1
    assert found["onnx_serving_rows_total", (("model", LOS),)] == 400
    assert found["onnx_serving_request_seconds_count", json_labels] == 2
    assert found["onnx_serving_model_loads_total", (("model", READMISSION), ("result", "loaded"))] == 1
    sha256 = service.score(LOS, []).headers["x-onnx-model-sha256"]
    assert found["onnx_serving_model_info", (("model", LOS), ("sha256", sha256))] == 1
    assert found["onnx_serving_open_requests", ()] == 1  # the one that asked


def test_the_seconds_of_requests_are_a_histogram_whose_buckets_add_up(service):
    for _ in range(3):
        service.score(LOS, [])
    service.score(LOS, {})
    found = metrics_of(service)
    labels = (("format", "json"), ("model", LOS))
    buckets = {
        dict(names)["le"]: value
        for (name, names), value in found.items()
        if name == "onnx_serving_request_seconds_bucket" and set(labels) <= set(names)
    }
    counts = [buckets[bound] for bound in sorted(buckets, key=float)]
    assert counts == sorted(counts) and counts[-1] == buckets["+Inf"] == 4
    assert found["onnx_serving_request_seconds_count", labels] == 4
    assert 0 < found["onnx_serving_request_seconds_sum", labels] < 60
    assert found["onnx_serving_request_seconds_created", labels] > 1e9
    assert found["onnx_serving_received_bytes_total", ()] == 3 * 2 + 2
    assert ("onnx_serving_rows_total", (("model", LOS),)) not in found


def test_what_requests_name_makes_no_new_series(service):
    before = len(metrics_of(service))
    for number in range(50):
        service.score(f"model-{number}", [])
        service.get(f"/path-{number}")
    assert len(metrics_of(service)) - before < 30


@pytest.fixture
def lines(caplog):
    """The log as it would be printed."""
    caplog.set_level(logging.DEBUG)
    own = lambda record: not record.name.startswith(("httpx", "httpcore"))  # noqa: E731 - the tests' client logs too
    return lambda: [json.loads(JsonLines().format(record)) for record in filter(own, caplog.records)]


def test_a_request_is_one_line_with_its_id_and_numbers(service, lines):
    service.score(LOS, {"data": [[1.5] * 27] * 3}, **{"x-request-id": "run-7"})
    (line,) = [line for line in lines() if line["event"] == "request"]
    assert (line["request_id"], line["route"], line["status"], line["model"]) == (
        "run-7", "/models/{name}/score", 200, LOS,
    )  # fmt: skip
    assert line["rows"] == 3 and line["bytes"] > 300 and 0 < line["seconds"] < 60


def test_no_value_no_key_and_no_query_enters_the_log(open_service, encounters, lines):
    service = open_service(MODELS, keys=frozenset({"the-key"}))
    rows = records_of(features_of(MODELS / f"{READMISSION}.onnx", encounters))[:2]
    rows[0]["facility"], rows[1]["age"] = "Marburg-4711", "fourty-2"
    key = {"x-functions-key": "the-key"}
    service.score(READMISSION, rows, **key)
    service.score(READMISSION, rows[:1], **key)
    service.score("secret-name", rows, **{"x-functions-key": "wrong-key"})
    service.get("/models?code=the-key", **key)
    service.post(f"/models/{READMISSION}/score", content=b'[{"facility": "Marburg-4711",', headers=key)
    text = json.dumps(lines())
    for secret in ("Marburg", "fourty", "the-key", "wrong-key", "secret-name", "code="):
        assert secret not in text, secret


def test_an_access_log_can_be_left_out(open_service, lines):
    open_service(MODELS, access_log=False).score(LOS, [])
    assert not [line for line in lines() if line["event"] == "request"]
