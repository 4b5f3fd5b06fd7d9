"""Runs that fail with secrets in their environment, and Dagster's own pages: whatever was written or shown is searched.

Searched are the bytes of all files of a Dagster instance (its event log, its runs, the captured output of steps), what
any library logs down to DEBUG, and the answers of a real web server.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import parse_qs, quote, quote_plus

import pytest

from onnx_pipeline.orchestration.assets import step as assets
from onnx_pipeline.pools.tsql import pool as mssql
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.azure.test_secrets import FAKE_KEY, FAKE_SAS, NOBODY
from onnx_pipeline_tests.dagster import processes
from onnx_pipeline_tests.dagster.conftest import (  # noqa: F401 - fixtures
    Runner,
    lasting_instance,
    linear_model,
    make_spec,
    no_waiting,
    project,
)

PASSWORD = "p@ss/w}rd;%41 äß+1'\"x"
CLIENT_SECRET = "Zq8~client.secret_of-a-principal"
TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJkYXRhYmFzZSJ9.c2lnbmF0dXJl"
SERVER = "127.0.0.1:9/warehouse"
"""Port 9 is reserved for discarding, and nothing listens there."""


def forms(secret):
    """A secret as it is, and as URLs, connection strings, JSON, Python and drivers spell it; a SAS also by its parts."""
    spelt = set()
    for part in {secret, *parse_qs(secret).get("sig", [])}:
        for text in (part, part.replace("}", "}}"), quote(part), quote(part, safe=""), quote_plus(part)):
            spelt |= {text, json.dumps(text)[1:-1], repr(text)[1:-1]}
    found = {text.encode() for text in spelt} | {text.encode("utf-16-le") for text in spelt}
    return found | {b64encode(secret.encode()).rstrip(b"=")}


def assert_nowhere(secret, *texts):
    for text in texts:
        content = text if isinstance(text, bytes) else text.encode()
        for form in forms(secret):
            assert form not in content, f"{form!r} was said: {content[max(0, content.find(form) - 200) :][:500]!r}"


def written_below(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    return [path.read_bytes() for path in files]


def test_the_search_finds_a_secret_in_each_of_its_forms():
    for text in (PASSWORD, quote(PASSWORD, safe=""), f"PWD={{{PASSWORD.replace('}', '}}')}}};", json.dumps(PASSWORD)):
        with pytest.raises(AssertionError, match="was said"):
            assert_nowhere(PASSWORD, f"something {text} else")
    with pytest.raises(AssertionError, match="was said"):
        assert_nowhere(FAKE_SAS, "?sig=" + parse_qs(FAKE_SAS)["sig"][0])
    with pytest.raises(AssertionError, match="was said"):
        assert_nowhere(TOKEN, b"\1\0" + TOKEN.encode("utf-16-le"))


@pytest.fixture
def impatient(monkeypatch):
    """Who does not answer is asked once more, for a second."""
    monkeypatch.setattr(mssql, "Retries", lambda: Retries(most=1, sleep=lambda seconds: None))
    monkeypatch.setattr(mssql, "LOGIN_SECONDS", 1)
    monkeypatch.setattr(assets, "RETRIES", 0)


SIGN_INS = {
    "SQL login in the URL": (f"scorer:{quote(PASSWORD, safe='')}@{SERVER}", {}, PASSWORD),
    "SQL login in the environment": (
        SERVER,
        {"ONNX_PIPELINE_SQL_USER": "scorer", "ONNX_PIPELINE_SQL_PASSWORD": PASSWORD},
        PASSWORD,
    ),
    "service principal in the URL": (
        f"11-22:{quote(CLIENT_SECRET, safe='')}@{SERVER}?authentication=ActiveDirectoryServicePrincipal",
        {},
        CLIENT_SECRET,
    ),
    "service principal in the environment": (
        f"{SERVER}?authentication=ActiveDirectoryServicePrincipal",
        {"ONNX_PIPELINE_SQL_USER": "11-22", "ONNX_PIPELINE_SQL_PASSWORD": CLIENT_SECRET},
        CLIENT_SECRET,
    ),
    "token": (SERVER, {}, TOKEN),
}


# mssql-python gets its token inside the driver.
@pytest.mark.parametrize(
    ("scheme", "way"),
    [("mssql+pyodbc", way) for way in SIGN_INS] + [("mssql+mssqlpython", way) for way in SIGN_INS if way != "token"],
)
def test_a_run_that_cannot_reach_its_pool(
    way,
    scheme,
    project,  # noqa: F811
    make_spec,  # noqa: F811
    lasting_instance,  # noqa: F811
    tmp_path,
    everything_logged,
    monkeypatch,
    impatient,
    capfd,
):
    needs.driver({"mssql+pyodbc": "pyodbc", "mssql+mssqlpython": "mssql_python"}[scheme])
    url, environment, secret = SIGN_INS[way]
    if way == "token":
        import azure.identity

        class Credential:
            def __init__(self, **options):
                pass

            def get_token(self, scope):
                return type("Token", (), {"token": TOKEN})

        monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Credential)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ONNX_PIPELINE_POOL", f"{scheme}://{url}")
    runner = Runner(lasting_instance)
    result = runner.run(make_spec(), only=["model"])
    assert "mssql:127.0.0.1:9/warehouse" in runner.failure(result)
    output = capfd.readouterr()
    said = written_below(tmp_path / "dagster")
    assert any(b"mssql:127.0.0.1:9/warehouse" in content for content in said), "the failure was recorded"
    assert_nowhere(secret, *said, everything_logged.text, output.out, output.err, runner.failure(result))


@pytest.mark.parametrize("reached", [True, False], ids=["refused", "unreachable"])
@pytest.mark.parametrize(
    ("variable", "secret"),
    [("AZURE_STORAGE_KEY", FAKE_KEY), ("AZURE_STORAGE_SAS_TOKEN", FAKE_SAS)],
    ids=["account key", "SAS"],
)
@pytest.mark.parametrize("what", ["model", "copies"])
def test_a_run_that_cannot_read_its_model_or_keep_a_copy(
    what,
    variable,
    secret,
    reached,
    storage,
    project,  # noqa: F811
    make_spec,  # noqa: F811
    lasting_instance,  # noqa: F811
    tmp_path,
    everything_logged,
    monkeypatch,
    no_second_try,
    capfd,
):
    storage.put("length_of_stay.onnx", linear_model())
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv(variable, secret)
    if not reached:
        monkeypatch.setenv("ONNX_PIPELINE_BLOB_ACCOUNT_URL", NOBODY)
    if what == "copies":
        monkeypatch.setenv("ONNX_PIPELINE_ARTIFACTS", "az://staging/kept")
    runner = Runner(lasting_instance)
    spec = make_spec(onnx="az://models/length_of_stay.onnx") if what == "model" else make_spec()
    result = runner.run(spec, only=["model"])
    assert ("refused the sign-in" if reached else "does not answer") in runner.failure(result)
    output = capfd.readouterr()
    said = written_below(tmp_path / "dagster")
    assert any(b"az://models" in content or b"staging/kept" in content for content in said)
    assert_nowhere(secret, *said, everything_logged.text, output.out, output.err, runner.failure(result))


RESOURCES = """
query($selector: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $selector) {
    __typename
    ... on ResourceDetailsList { results {
      name description resourceType
      configFields { name description defaultValueAsJson }
      configuredValues { key value type }
    } }
  }
}
"""
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
ASSETS = """
{ assetNodes { assetKey { path } description configField { configType { key } } metadataEntries { label description
  ... on TextMetadataEntry { text } } opVersion } }
"""


class WebServer:
    """A real one, on a port that it chose itself."""

    def __init__(self, url):
        self.url = url

    def ask(self, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
        assert "errors" not in json.loads(text), text
        return text


@pytest.fixture
def web_server(project_home, tmp_path):
    """Serves this project with every kind of secret in its environment."""
    needs.driver("pyodbc")
    environment = processes.environment(project_home, tmp_path / "dagster") | {
        "ONNX_PIPELINE_POOL": f"mssql+pyodbc://scorer:{quote(PASSWORD, safe='')}@{SERVER}",
        "ONNX_PIPELINE_SQL_USER": "11-22",
        "ONNX_PIPELINE_SQL_PASSWORD": CLIENT_SECRET,
        "ONNX_PIPELINE_BLOB_ACCOUNT_URL": f"{NOBODY}?{FAKE_SAS}",
        "AZURE_STORAGE_KEY": FAKE_KEY,
        "ONNX_PIPELINE_ARTIFACTS": "az://staging/kept",
    }
    with processes.instance_in(tmp_path / "dagster"):
        pass
    log = tmp_path / "web_server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dagster_webserver",
                "-m",
                "onnx_pipeline.definitions",
                "-h",
                "127.0.0.1",
                "-p",
                "0",
            ],
            cwd=project_home,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield WebServer(_address(server, log)), log
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)


def _address(server, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        time.sleep(0.2)
        for address in re.findall(r"Serving dagster-webserver on (\S+)", log.read_text()):
            # It says so a moment before it listens.
            with (
                contextlib.suppress(urllib.error.URLError),
                urllib.request.urlopen(f"{address}/server_info", timeout=5),
            ):
                return address
    pytest.fail(f"the web server did not start: {log.read_text()}")


@pytest.mark.daemon
def test_the_pages_of_the_ui(web_server):
    server, log = web_server
    (repository,) = json.loads(server.ask(REPOSITORIES))["data"]["repositoriesOrError"]["nodes"]
    selector = {"repositoryName": repository["name"], "repositoryLocationName": repository["location"]["name"]}
    resources = server.ask(RESOURCES, selector=selector)
    names = {found["name"] for found in json.loads(resources)["data"]["allTopLevelResourceDetailsOrError"]["results"]}
    assert names == {"pool", "onnx_runtime", "staging", "artifacts", "azure_blob"}
    assert NOBODY in resources
    assets = server.ask(ASSETS)
    assert "length_of_stay" in assets
    for secret in (PASSWORD, CLIENT_SECRET, FAKE_SAS, FAKE_KEY):
        assert_nowhere(secret, resources, assets, log.read_text())
