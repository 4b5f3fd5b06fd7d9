"""Keys come from the environment and reach the service's header, and nothing else."""

import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from onnx_pipeline.azure import account
from onnx_pipeline.base.errors import ServiceError, SpecError
from onnx_pipeline_tests.engines.conftest import Run, StartServer, remote

KEY = "s3cr3t/key+with=signs"


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [("function_key", "x-functions-key", KEY), ("bearer", "authorization", f"Bearer {KEY}")],
)
def test_the_key_in_the_environment_is_sent(
    kind: str, header: str, value: str, start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORING_KEY", KEY)
    server = start_server()
    run(remote(server.url, auth={"kind": kind, "env": "SCORING_KEY"}, headers={"azureml-model-deployment": "blue"}))
    assert {request["headers"][header] for request in server.requests} == {value}
    assert {request["headers"]["azureml-model-deployment"] for request in server.requests} == {"blue"}
    assert len({request["headers"]["x-request-id"] for request in server.requests}) == len(server.requests)
    assert {request["headers"]["x-onnx-model-sha256"] for request in server.requests} == {run.model.sha256}


def test_without_auth_no_sign_in_is_sent(start_server: StartServer, run: Run) -> None:
    server = start_server()
    run(remote(server.url))
    assert not {"authorization", "x-functions-key"} & set().union(*(r["headers"] for r in server.requests))


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_is_named(
    value: str | None, start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("SCORING_KEY", value)
    server = start_server()
    with pytest.raises(SpecError, match="variable SCORING_KEY, which `auth` names, is not set"):
        run(remote(server.url, auth={"kind": "bearer", "env": "SCORING_KEY"}))
    assert server.requests == []


def test_a_wrong_key_is_refused_and_a_service_that_repeats_it_does_not_spread_it(
    start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SCORING_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server = start_server(key="another")
    with pytest.raises(ServiceError, match=r"refused the sign-in: HTTP 401: bad key \*\*\*") as raised:
        run(remote(server.url, auth={"kind": "function_key", "env": "SCORING_KEY"}))
    assert not raised.value.transient
    assert "Check the key in SCORING_KEY" in str(raised.value)
    seen, error = [], raised.value
    while error is not None:
        seen.append(repr(error))
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    for text in (*seen, caplog.text, *run.said):
        assert KEY not in text
    run.assert_nothing()


class Identity(http.server.BaseHTTPRequestHandler):
    """Where an Azure App Service hands out the tokens of its managed identity."""

    asked: list[str] = []  # noqa: RUF012 - one server, one test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        good = self.headers["X-IDENTITY-HEADER"] == "of-this-host"
        expires = str(int(time.time()) + 3600)
        token = {"access_token": KEY, "expires_on": expires, "resource": "api://scoring", "token_type": "Bearer"}
        body = json.dumps(token if good else {"error": "denied"}).encode()
        self.send_response(200 if good else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Identity]]:
    pytest.importorskip("azure.identity", reason="pip install 'onnx-pipeline[azure]' turns this test on")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Identity)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "of-this-host")
    account.default_credential.cache_clear()
    Identity.asked = []
    yield Identity
    account.default_credential.cache_clear()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_managed_identitys_token_is_sent_and_asked_for_once(
    identity: type[Identity], start_server: StartServer, run: Run
) -> None:
    server = start_server()
    run(remote(server.url, auth={"kind": "entra", "scope": "api://scoring/.default"}))
    assert {request["headers"]["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert len(identity.asked) == 1 and "resource=api" in identity.asked[0]
    run.assert_all()


def test_where_no_token_is_given_nothing_is_sent(
    identity: type[Identity], start_server: StartServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "of-another-host")
    monkeypatch.setenv("PATH", "")  # no `az` whose sign-in could stand in
    server = start_server()
    with pytest.raises(ServiceError, match="gave no token for api://scoring/.default"):
        run(remote(server.url, auth={"kind": "entra", "scope": "api://scoring/.default"}))
    assert server.requests == []
    run.assert_nothing()
