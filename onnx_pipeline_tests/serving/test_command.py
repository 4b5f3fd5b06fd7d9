"""`onnx-pipeline serve` as a person types it."""

import socket

import pytest
import requests

from onnx_pipeline_tests.cli.conftest import command  # noqa: F401 - a fixture
from onnx_pipeline_tests.serving.conftest import line_model, serving


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    return tmp_path


def test_without_a_key_it_refuses_to_listen_beyond_this_machine(command, folder):  # noqa: F811
    done = command("serve", "--models", str(folder), "--host", "0.0.0.0")
    assert done.code == 1
    for word in ("no API key is set", "ONNX_PIPELINE_SERVE_KEYS", "--keys-file", "--host 127.0.0.1"):
        assert word in done.error


def test_without_models_it_says_how_to_name_them(command):  # noqa: F811
    done = command("serve")
    assert done.code == 1 and "--models az://models" in done.error


def test_a_port_that_is_taken_is_named(command, folder):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--models", str(folder), "--port", str(port))
    assert done.code == 1 and f"127.0.0.1:{port}" in done.error


def test_it_says_at_start_where_it_listens_and_who_may_come_in(folder, tmp_path):
    with serving("--models", str(folder)) as (url, process):
        (line,) = [line for line in process.log if line["event"] == "listening"]
        assert line["access"] == "no API key is set: this machine only" and url.startswith("http://127.0.0.1:")
    keys = tmp_path / "keys"
    keys.write_text("the-key\n")
    with serving("--models", f"named={folder / 'line.onnx'}", "--keys-file", str(keys), "--host", "0.0.0.0") as (
        url,
        process,
    ):
        (line,) = [line for line in process.log if line["event"] == "listening"]
        assert line["access"] == "an API key opens it"
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert requests.post(f"{url}/score", json=[], timeout=60).status_code == 401
        answer = requests.post(f"{url}/score", json=[{"a": 1}], headers={"x-functions-key": "the-key"}, timeout=60)
        assert answer.json() == [{"y": 2}]
    assert "the-key" not in process.rest()
