"""The Azure Function, the Azure ML deployment and the container, called in this process the way their hosts call them."""

import asyncio
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import azure.functions as func
import pyarrow as pa
import pytest
import requests
import yaml

from onnx_pipeline.base.errors import ModelNotFoundError
from onnx_pipeline.sample import MODELS
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline_tests.serving.conftest import ARROW, line_model, stream_of, table_of

DEPLOY = Path(__file__).parents[2] / "deploy"


def load(path: Path) -> Any:
    """A module from its file, as hosts load scripts."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Invocation(func.Context):
    """What the Functions worker tells of one call."""

    invocation_id = "1"
    function_name = "http_app_func"
    function_directory = "/home/site/wwwroot"
    trace_context = None
    retry_context = None
    thread_local_storage = None


@pytest.fixture
def function(tmp_path, monkeypatch):
    """`function(method, path, body, **headers)`: the one function of the app, called as the worker calls it."""
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    monkeypatch.setenv("ONNX_PIPELINE_SERVE_MODELS", str(tmp_path))
    module = load(DEPLOY / "azure_function" / "function_app.py")
    (only,) = module.app.get_functions()
    user_function = only.get_user_function()
    loop = asyncio.new_event_loop()

    def call(method: str, path: str, body: bytes = b"", **headers: str) -> func.HttpResponse:
        request = func.HttpRequest(method, f"https://app.azurewebsites.net{path}", headers=headers, body=body)
        return loop.run_until_complete(user_function(request, Invocation()))

    yield call
    loop.run_until_complete(module.app.middleware.notify_shutdown())
    module.app.startup_task_done = False
    loop.close()


def test_the_function_scores_json_and_arrow_and_passes_errors_on(function):
    answer = function("POST", "/models/line/score", b'[{"a": 3}]', **{"Content-Type": "application/json"})
    assert answer.status_code == 200 and json.loads(answer.get_body()) == [{"y": 6}]
    assert answer.headers["x-onnx-model-sha256"]
    stream = stream_of(pa.table({"a": pa.array([1, 2], pa.float32())}))
    answer = function("POST", "/score", stream, **{"Content-Type": ARROW, "X-Request-Id": "run-7"})
    assert table_of(answer.get_body())["y"].to_pylist() == [2, 4]
    assert answer.headers["content-type"] == ARROW and answer.headers["x-request-id"] == "run-7"
    answer = function("POST", "/models/line/score", b'[{"a": "x"}]', **{"Content-Type": "application/json"})
    assert answer.status_code == 400 and json.loads(answer.get_body())["error"]["column"] == "a"
    assert json.loads(function("GET", "/readyz").get_body())["ready"] is True


def test_the_function_asks_its_host_for_a_key_and_takes_every_path(tmp_path, monkeypatch):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    monkeypatch.setenv("ONNX_PIPELINE_SERVE_MODELS", str(tmp_path))
    module = load(DEPLOY / "azure_function" / "function_app.py")
    (only,) = module.app.get_functions()
    trigger = only.get_trigger().get_dict_repr()
    assert trigger["authLevel"].value == "function" and trigger["route"] == "/{*route}"
    host = json.loads((DEPLOY / "azure_function" / "host.json").read_text())
    assert host["version"] == "2.0" and host["extensions"]["http"]["routePrefix"] == ""
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    assert hours * 3600 + minutes * 60 + seconds <= 230


@pytest.fixture
def score(tmp_path, monkeypatch):
    """score.py, initialised over a model folder as Azure ML lays it out."""
    folder = tmp_path / "azureml-models" / "line" / "1"
    folder.mkdir(parents=True)
    (folder / "line.onnx").write_bytes(line_model(2))
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(folder))
    module = load(DEPLOY / "azure_ml" / "score.py")
    module.init()
    return module


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ('[{"a": 3}]', [{"y": 6}]),
        ('{"data": [[3], [4]]}', {"columns": ["y"], "data": [[6], [8]]}),
        (
            '{"input_data": {"columns": ["a"], "index": [7], "data": [[3]]}}',
            {"output_data": {"columns": ["y"], "index": [7], "data": [[6]]}},
        ),
        (b'[{"a": null}]', [{"y": None}]),
    ],
)
def test_azure_mls_run_takes_raw_text_and_answers_in_its_shape(score, raw, answer):
    assert score.run(raw) == answer
    assert score.run(raw, request_headers={"X-Request-Id": "7"}) == answer


def test_azure_mls_run_outside_its_server_raises_what_the_server_would_be_told(score):
    with pytest.raises(Refusal) as refused:
        score.run('[{"a": 1}, {"a": "x"}]')
    assert (refused.value.status, refused.value.column, refused.value.row) == (400, "a", 1)
    with pytest.raises(Refusal) as refused:
        score.run("[]", request_headers={"X-Onnx-Model-Sha256": "0" * 64})
    assert refused.value.status == 409


def test_azure_mls_init_fails_the_deployment_without_exactly_one_model(tmp_path, monkeypatch):
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="0 files"):
        load(DEPLOY / "azure_ml" / "score.py").init()
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(Refusal, match="InvalidModelError"):
        load(DEPLOY / "azure_ml" / "score.py").init()


def test_azure_mls_own_server_runs_the_script(tmp_path):
    server = os.environ.get("ONNX_PIPELINE_TEST_AZML_SERVER")
    if not server:
        pytest.skip(
            "Azure ML's inference server pins packages that this project has newer; name its azmlinfsrv, in an environment "
            "with deploy/azure_ml/environment.yml installed, in ONNX_PIPELINE_TEST_AZML_SERVER"
        )
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "AZUREML_MODEL_DIR": str(tmp_path),
        "PYTHONPATH": str(DEPLOY.parent),
        "WORKER_COUNT": "1",
    }
    command = [server, "--entry_script", str(DEPLOY / "azure_ml" / "score.py"), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                requests.get(url, timeout=5)
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        answer = requests.post(f"{url}/score", json=[{"a": 3}], timeout=60)
        assert answer.status_code == 200 and answer.json() == [{"y": 6}]
        assert len(answer.headers["x-onnx-model-sha256"]) == 64
        refused = requests.post(f"{url}/score", json=[{"a": "x"}], timeout=60)
        assert refused.status_code == 400 and refused.json()["error"]["column"] == "a"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.filterwarnings("ignore")  # what Azure's client warns of is its own
@pytest.mark.parametrize(
    ("file", "kind"),
    [("endpoint.yml", "endpoint"), ("deployment.yml", "deployment"), ("deployment-container.yml", "deployment")],
)
def test_azure_mls_own_client_reads_the_files(file, kind):
    ml = pytest.importorskip(
        "azure.ai.ml", reason="pip install 'onnx-pipeline[azureml]' to read the files as Azure does"
    )
    read = ml.load_online_endpoint if kind == "endpoint" else ml.load_online_deployment
    found = read(DEPLOY / "azure_ml" / file)
    if kind == "endpoint":
        assert found.auth_mode == "key"
        return
    endpoint = yaml.safe_load((DEPLOY / "azure_ml" / "endpoint.yml").read_text())
    assert found.endpoint_name == endpoint["name"]
    assert found.request_settings.request_timeout_ms <= 180_000  # the most that Azure ML takes


def names(lines) -> set[str]:
    return {
        re.split(r"[>=<;\[ ]", line.strip().lstrip("- "))[0].lower()
        for line in lines
        if re.match(r"[a-z]", line.strip().lstrip("- "))
    }


IMPORTED = """
import sys
sys.path.insert(0, {path!r})
{script}
import importlib.metadata
own = {{module.partition(".")[0] for module in sys.modules}}
packages = importlib.metadata.packages_distributions()
print(*sorted({{name.lower() for module in own for name in packages.get(module, ())}}))
"""
DIRECT = {
    "anyio", "azure-functions", "httptools", "numpy", "onnx", "onnxruntime", "orjson", "prometheus-client", "pyarrow",
    "rich", "starlette", "typer", "uvicorn",
}  # fmt: skip
"""What the service imports by name; the Azure clients only where a model lies there."""
SERVED = "from onnx_pipeline.serving import Catalogue; c = Catalogue([{models!r}]); c.refresh(); assert c.ready"


@pytest.mark.parametrize(
    ("file", "script"),
    [
        ("azure_function/requirements.txt", "import azure.functions, onnx_pipeline.serving.app; " + SERVED),
        ("azure_ml/environment.yml", "import onnx_pipeline.serving.formats; " + SERVED),
        (
            "serving-requirements.txt",
            "import onnx_pipeline.cli.app, onnx_pipeline.cli.serve, onnx_pipeline.serving.server; " + SERVED,
        ),
    ],
)
def test_the_requirements_name_what_is_imported_and_nothing_heavy_is(file, script):
    code = IMPORTED.format(path=str(DEPLOY.parent), script=script.format(models=str(MODELS)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    # A model is looked at in a process of its own, which imports onnx.
    imported = {name.replace("_", "-") for name in done.stdout.split()} | {"onnx"}
    assert not imported & {"dagster", "duckdb", "pandas", "sqlalchemy"}
    listed = names((DEPLOY / file).read_text().splitlines())
    assert imported & DIRECT == listed & DIRECT


def test_what_the_container_copies_is_there_and_its_command_is_one():
    text = (DEPLOY / "serving.Dockerfile").read_text()
    for sources in re.findall(r"^COPY (.+) \S+$", text, flags=re.MULTILINE):
        for source in sources.split():
            assert (DEPLOY.parent / source).exists(), source
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", text, flags=re.MULTILINE)[1])
    assert entry[:2] == ["onnx-pipeline", "serve"] and "USER scoring" in text
    help_text = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from onnx_pipeline.cli import main; main()", "serve", "--help"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200"}, check=True,
    ).stdout  # fmt: skip
    assert all(option in help_text for option in entry if option.startswith("--"))
