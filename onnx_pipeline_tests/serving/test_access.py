"""Who may come in: keys, and without a key this machine alone."""

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.sample import MODELS
from onnx_pipeline.serving import ServingSettings
from onnx_pipeline_tests.serving.conftest import LOS

OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
CLOSED = ("/models", f"/models/{LOS}", "/metrics", "/openapi.json", "/v2", f"/v2/models/{LOS}")


@pytest.fixture
def keyed(open_service):
    return open_service(MODELS, keys=frozenset({"first-key", "zweiter Schlüssel"}), client="10.0.0.7")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-functions-key": "first-key"},
        {"Authorization": "Bearer first-key"},
        {"Authorization": "bearer   first-key "},
        {"x-functions-key": "zweiter Schlüssel".encode()},
    ],
)
def test_any_of_the_keys_opens_the_service_in_either_header(keyed, headers):
    assert keyed.post(f"/models/{LOS}/score", json=[], headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "key_missing"),
        ({"Authorization": "Basic first-key"}, "key_missing"),
        ({"x-functions-key": ""}, "key_unknown"),
        ({"x-functions-key": "first-ke"}, "key_unknown"),
        ({"x-functions-key": "first-keys"}, "key_unknown"),
        ({"Authorization": "Bearer"}, "key_missing"),
    ],
)
def test_without_one_everything_but_health_is_401(keyed, headers, code):
    answer = keyed.post(f"/models/{LOS}/score", json=[], headers=headers)
    assert answer.status_code == 401 and answer.json()["error"]["code"] == code
    assert answer.headers["www-authenticate"] == "Bearer"
    for path in CLOSED:
        assert keyed.get(path, **headers).status_code == 401, path
    for path in OPEN:
        assert keyed.get(path).status_code == 200, path


def test_the_body_of_a_refused_request_is_not_read(keyed):
    async def body():
        raise AssertionError("it was read")
        yield b""

    assert keyed.post(f"/models/{LOS}/score", content=body()).status_code == 401


@pytest.mark.parametrize(
    ("client", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 401), ("testclient", 401)]
)
def test_without_keys_only_this_machine_is_served(open_service, client, status):
    service = open_service(MODELS, client=client)
    answer = service.score(LOS, [])
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["code"] == "no_key_set"


def test_keys_come_from_the_environment_and_from_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# of the ward\nthird\n\n  fourth  \n")
    settings = ServingSettings.from_environment(
        {"ONNX_PIPELINE_SERVE_KEYS": "first, second", "ONNX_PIPELINE_SERVE_KEYS_FILE": str(file)}
    )
    assert settings.keys == {"first", "second", "third", "fourth"}
    assert "first" not in repr(settings)


def test_a_file_of_keys_without_keys_is_an_error_and_opens_nothing(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# none yet\n")
    for path in (file, tmp_path / "absent"):
        with pytest.raises(SpecError, match="API keys"):
            ServingSettings.from_environment({"ONNX_PIPELINE_SERVE_KEYS_FILE": str(path)})


def test_a_host_that_checks_keys_itself_may_be_trusted_with_it(open_service):
    assert ServingSettings.from_environment({"ONNX_PIPELINE_SERVE_TRUST_HOST": "true"}).trust_host
    assert not ServingSettings.from_environment({}).trust_host
    with pytest.raises(SpecError, match="TRUST_HOST is 'yes', which is neither true nor false"):
        ServingSettings.from_environment({"ONNX_PIPELINE_SERVE_TRUST_HOST": "yes"})
    assert open_service(MODELS, client="10.0.0.7", trust_host=True).score(LOS, []).status_code == 200


@pytest.mark.parametrize("value", ["many", "0", "-1"])
def test_a_setting_that_is_no_number_or_none_that_makes_sense_is_named(value):
    with pytest.raises(SpecError, match="ONNX_PIPELINE_SERVE_THREADS"):
        ServingSettings.from_environment({"ONNX_PIPELINE_SERVE_THREADS": value})
