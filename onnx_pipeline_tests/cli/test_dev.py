"""`onnx-pipeline dev`, with a program in the place of `dagster dev` that answers as the webserver does."""

import http.server
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli import dev

WEBSERVER = """
import http.server, sys

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"dagster_webserver_version": "1"}')

    def log_message(self, *_):
        pass

place = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1])
try:
    http.server.HTTPServer(place, Answers).serve_forever()
except KeyboardInterrupt:
    pass
"""


@pytest.fixture
def folder(project_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty DAGSTER_HOME; what is started there ends with the test."""
    program, started, begin = tmp_path / "webserver.py", [], subprocess.Popen
    program.write_text(WEBSERVER)

    def begun(command: list[str], **options: bool) -> "subprocess.Popen[bytes]":
        assert command[:6] == [sys.executable, "-W", "ignore:Function", "-m", "dagster", "dev"]
        started.append(begin([sys.executable, str(program), *command[6:]], **options))  # type: ignore[call-overload]
        return started[-1]

    handlers = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv("DAGSTER_HOME", str(project_home))
    monkeypatch.setattr(dev.subprocess, "Popen", begun)
    yield project_home
    for process in started:
        process.kill()
        process.wait()
    for name, handler in handlers.items():
        signal.signal(name, handler)


class Screen(io.StringIO):
    """What is printed; the second line, which says that it is there, ends the command as SIGTERM would."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.refusal = ""
        self._folder = folder

    def write(self, text: str) -> int:
        if "The Dagster UI is at" in text:
            with pytest.raises(SpecError) as refused:
                dev.start(host="127.0.0.1", port=None, log_level="warning")
            self.refusal = str(refused.value)
            self.record = json.loads((self._folder / ".dev.json").read_text())
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return super().write(text)


def test_the_url_is_what_the_screen_shows_and_a_second_one_is_refused_with_it(folder: Path) -> None:
    screen = Screen(folder)
    with redirect_stdout(screen), pytest.raises(SystemExit) as ended:
        dev.start(host="127.0.0.1", port=None, log_level="warning")
    assert ended.value.code == 0
    url, pid = screen.record["url"], screen.record["pid"]
    assert screen.getvalue().splitlines() == [
        f"Starting the Dagster UI at {url}; it will be there in half a minute.",
        f"The Dagster UI is at {url} (Ctrl+C ends it)",
        "Ending the Dagster UI and its daemon.",
    ]
    assert f"a user interface of {folder} runs already: {url}, process {pid}. Open that one" in screen.refusal
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
    assert not (folder / ".dev.json").exists()


def test_one_whose_own_process_was_killed_is_found_by_its_answer(folder: Path) -> None:
    port = dev.free_port("127.0.0.1", None)
    process = dev.subprocess.Popen(
        [sys.executable, "-W", "ignore:Function", "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    )
    running = dev.Running(f"http://127.0.0.1:{port}", process.pid)
    (folder / ".dev.json").write_text(json.dumps(vars(running)))
    for _ in range(100):
        if running.answers:
            break
        threading.Event().wait(0.05)
    with pytest.raises(SpecError, match=f"{port}, process {process.pid}.*`kill {process.pid}`"):
        dev.start(host="127.0.0.1", port=None, log_level="warning")


def test_a_record_of_one_that_is_gone_says_nothing(folder: Path) -> None:
    assert dev.running_in(folder) is None
    for text in ("", "{", "[]", '{"url": "http://127.0.0.1:1"}'):
        (folder / ".dev.json").write_text(text)
        assert dev.running_in(folder) is None
    assert not dev.Running("http://127.0.0.1:1", 1).answers


@pytest.mark.parametrize(("status", "body"), [(404, b"nothing here"), (200, b"another's page"), (200, b"{}")])
def test_another_server_at_its_address_is_none_of_ours(status: int, body: bytes) -> None:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        answering = threading.Thread(target=server.serve_forever)
        answering.start()
        try:
            assert not dev.Running(f"http://127.0.0.1:{server.server_port}", 1).answers
        finally:
            server.shutdown()
            answering.join()


def test_a_port_that_is_taken_is_passed_over_or_refused() -> None:
    first = dev.free_port("127.0.0.1", None)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert dev.free_port("127.0.0.1", None) > first
        with pytest.raises(SpecError, match=f"port {first} of 127.0.0.1 cannot be used"):
            dev.free_port("127.0.0.1", first)
    with pytest.raises(SpecError, match=r"--host 'no\.such\.host\.invalid' is no address"):
        dev.free_port("no.such.host.invalid", None)
