"""A real Azurite server that the tests start, and what it was asked."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onnx_pipeline_tests import needs

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_INSTALL = (
    "Azurite is not installed, so nothing was tested against Azure Blob: install Node 20 and run `make azurite` "
    "(or npm install --prefix <folder> azurite@3.37.0, and name its azurite-blob in ONNX_PIPELINE_AZURITE)"
)


def find_azurite() -> str | None:
    """The program: as the environment names it, as `make azurite` installs it, or from the path; None without Node."""
    if shutil.which("node") is None:
        return None
    named = os.environ.get("ONNX_PIPELINE_AZURITE")
    installed = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    return named or (str(installed) if installed.exists() else shutil.which("azurite-blob"))


class Azurite:
    """The running server."""

    def __init__(self, port: int, access_log: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self._access_log = access_log

    def requests(self) -> list[str]:
        """Every request so far: `HEAD /devstoreaccount1/models/a.onnx`, without queries."""
        # The server writes a line once it has answered, so what a request of our own follows is all there.
        marker = f"/{uuid.uuid4().hex}"
        try:
            urllib.request.urlopen(self.url + marker).close()
        except urllib.error.HTTPError as error:
            error.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = [line.split('"')[1] for line in self._access_log.read_text().splitlines() if line.count('"') >= 2]
            if any(marker in line for line in lines):
                found = [line.split(" ")[:2] for line in lines]
                return [
                    f"{method} {url.partition('?')[0]}"
                    for method, url in found
                    if method in ("HEAD", "GET", "PUT", "DELETE")
                ]
            time.sleep(0.02)
        raise AssertionError("Azurite logs no requests")


@contextmanager
def running_azurite(folder: Path, *more: str) -> Iterator[Azurite]:
    """Start the server, and end it. `more` are options of its own, such as those of TLS."""
    program = find_azurite()
    if program is None:
        needs.lacking(_INSTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "azurite.log"
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", *more]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(server, port, log)
        yield Azurite(port, log)
    finally:
        server.terminate()
        server.wait(20)


def _wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"Azurite did not start: {log.read_text()}")
