"""HTTP/2 where a service offers it, over TLS, by a server of its own that speaks both."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from onnx_pipeline.spec.engines.remote import RemoteOptions
from onnx_pipeline_tests.engines.conftest import ROOT, Run, remote

APP = """
import pyarrow as pa
import numpy as np

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    table = pa.ipc.open_stream(body).read_all()
    a, b = (table.column(name).to_numpy() for name in ("a", "b"))
    answer = pa.table({"score": pa.array((1 + 2 * a - np.float32(0.5) * b).astype(np.float32))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, answer.schema) as writer:
        writer.write_table(answer)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-version", scope["http_version"].encode())]})
    await send({"type": "http.response.body", "body": sink.getvalue().to_pybytes()})

import asyncio, socket, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config

listener = socket.create_server(("127.0.0.1", 0))
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.certfile = config.keyfile = sys.argv[1]
config.errorlog = None

async def lifespan_aware(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await app(scope, receive, send)

print(listener.getsockname()[1], flush=True)
asyncio.run(serve(lifespan_aware, config))
"""


@pytest.fixture
def http2_server(tmp_path: Path) -> Iterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    command = [sys.executable, "-c", APP, str(tmp_path / "server.pem")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"https://localhost:{process.stdout.readline().strip()}/score"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize(("http2", "protocol"), [(True, "HTTP/2"), (False, "HTTP/1.1"), (None, "HTTP/1.1")])
def test_http2_is_spoken_where_it_is_offered_and_wanted(
    http2: bool | None, protocol: str, http2_server: str, run: Run, tmp_path: Path
) -> None:
    piece = run(remote(http2_server, http2=http2, ca_file=str(tmp_path / "ca.pem")))
    run.assert_all()
    assert piece.engine["protocol"] == protocol
    assert (piece.engine["requests"], piece.engine["retries"]) == (10, 0)


@pytest.mark.parametrize("wire", ["records", "data", "input_data", "v2"])
def test_json_wires_speak_it_unless_told_otherwise(wire: str) -> None:
    spec = RemoteOptions.model_validate({"kind": "remote", "url": "https://scoring.example", "wire": wire})
    assert spec.wants_http2
    assert not spec.model_copy(update={"http2": False}).wants_http2
