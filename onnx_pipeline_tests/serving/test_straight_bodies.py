"""Large bodies go past the HTTP parser, on every event loop: each is whole, and the next request begins behind it."""

import asyncio
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from onnx_pipeline.serving import ServingSettings, create_app, protocol
from onnx_pipeline.serving.limits import _STRAIGHT_BYTES
from onnx_pipeline.serving.protocol import BoundedProtocol
from onnx_pipeline.serving.straight_bodies import BodyReader
from onnx_pipeline_tests.serving.conftest import ARROW, line_model, stream_of, table_of

LOOPS = ["asyncio", *(["uvloop"] if sys.platform != "win32" else [])]

Serve = Callable[..., AbstractContextManager[socket.socket]]


@pytest.fixture(params=LOOPS)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """`with serve(**settings) as connection:` y = 2 a, behind one connection."""
    (tmp_path / "line.onnx").write_bytes(line_model(2))

    @contextmanager
    def started(**settings: Any) -> Iterator[socket.socket]:
        app = create_app(ServingSettings(models=(str(tmp_path),), **settings))
        app.catalogue.refresh()
        config = uvicorn.Config(
            app, http=BoundedProtocol, ws="none", log_config=None, lifespan="off", loop=request.param
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            with socket.create_connection(listener.getsockname(), timeout=60) as connection:
                yield connection
            server.should_exit = True
            thread.join(60)
        app.close()

    return started


@pytest.fixture
def straight(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each body, or rest of one, that went past the parser."""
    sizes: list[int] = []

    class Noted(BodyReader):
        def __init__(self, owner: asyncio.Protocol, memory: memoryview, whole: Callable[[], None]) -> None:
            sizes.append(len(memory))
            super().__init__(owner, memory, whole)

    monkeypatch.setattr(protocol, "BodyReader", Noted)
    return sizes


def arrow_request(values: np.ndarray[Any, Any]) -> bytes:
    body = stream_of(pa.table({"a": values}))
    return head(len(body), ARROW) + body


def head(length: int, content_type: str = "application/json") -> bytes:
    return (
        f"POST /models/line/score HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


class Answers:
    """Reads one answer after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def next(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self._file.read(int(headers["content-length"]))

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def answers() -> Iterator[Callable[[socket.socket], Answers]]:
    made: list[Answers] = []

    def of(connection: socket.socket) -> Answers:
        made.append(Answers(connection))
        return made[-1]

    yield of
    for each in made:
        each.close()


def test_bodies_of_many_sizes_in_pieces_of_any(
    serve: Serve, straight: list[int], answers: Callable[[socket.socket], Answers]
) -> None:
    rng = random.Random(7)
    sizes = [1, 1000, 65_000, 65_600, 70_000, 131_000, 500_000, 3, 1_500_000, 2]
    with serve() as connection:
        replies = answers(connection)
        for rows in sizes:
            values = np.random.default_rng(rows).normal(size=rows).astype(np.float32)
            left = memoryview(arrow_request(values))
            while left:
                # From a byte to more than any buffer on the way holds.
                piece = left[: int(10 ** rng.uniform(0, 6.5))]
                connection.sendall(piece)
                left = left[len(piece) :]
                if rng.random() < 0.3:
                    time.sleep(0.002)
            status, _, body = replies.next()
            assert status == 200, body
            np.testing.assert_array_equal(table_of(body)["y"].to_numpy(), values * 2)
    assert len(straight) >= 2
    assert all(size >= _STRAIGHT_BYTES for size in straight)


def test_a_request_right_behind_a_large_body_is_one_of_its_own(
    serve: Serve, straight: list[int], answers: Callable[[socket.socket], Answers]
) -> None:
    large, small = np.arange(1_000_000, dtype=np.float32), np.float32([1, 2, 3])
    with serve() as connection:
        requests = arrow_request(large) + arrow_request(small) + arrow_request(large[::-1].copy())
        sender = threading.Thread(target=connection.sendall, args=(requests,))
        sender.start()
        replies = answers(connection)
        for values in (large, small, large[::-1]):
            status, _, body = replies.next()
            assert status == 200, body
            np.testing.assert_array_equal(table_of(body)["y"].to_numpy(), values * 2)
        sender.join()
    assert straight


def test_json_goes_the_same_way(serve: Serve, straight: list[int], answers: Callable[[socket.socket], Answers]) -> None:
    body = json.dumps([{"a": value} for value in range(50_000)]).encode()
    with serve() as connection:
        connection.sendall(head(len(body)) + body)
        status, _, answer = answers(connection).next()
        assert status == 200
        assert json.loads(answer) == [{"y": 2 * value} for value in range(50_000)]
    assert straight


def test_a_client_that_dies_in_a_large_body_lets_go_of_what_it_held(
    serve: Serve, straight: list[int], answers: Callable[[socket.socket], Answers]
) -> None:
    # Two of them find no room together.
    request = arrow_request(np.arange(1_000_000, dtype=np.float32))
    with serve(max_held_bytes=13_000_000, score_seconds=20.0) as connection:
        for _ in range(4):
            with socket.create_connection(connection.getpeername(), timeout=60) as other:
                other.sendall(request[: len(request) // 2])
                time.sleep(0.2)
        connection.sendall(request)
        status, _, body = answers(connection).next()
        assert status == 200, body
    assert len(straight) == 5


def test_a_large_body_that_comes_too_slowly_is_408_and_ends_the_connection(
    serve: Serve, straight: list[int], answers: Callable[[socket.socket], Answers]
) -> None:
    request = arrow_request(np.arange(1_000_000, dtype=np.float32))
    with serve(receive_seconds=0.5) as connection:
        connection.sendall(request[: len(request) // 2])
        replies = answers(connection)
        status, headers, body = replies.next()
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["error"]["code"] == "body_too_slow"
        with socket.create_connection(connection.getpeername(), timeout=60) as other:
            other.sendall(request)
            assert answers(other).next()[0] == 200
    assert straight


class Owner(asyncio.Protocol):
    """Stands in for the connection's own protocol."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost = 0

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


def test_what_a_transport_read_beyond_the_body_is_the_owners() -> None:
    # As asyncio hands over what it read already: on Windows, or over TLS.
    owner, memory, calls = Owner(), memoryview(bytearray(10)), []
    reader = BodyReader(owner, memory, lambda: calls.append("whole"))
    data = b"0123456789POST /next"
    while data:
        place = memoryview(reader.get_buffer(len(data)))
        size = min(len(place), len(data))
        place[:size] = data[:size]
        reader.buffer_updated(size)
        data = data[size:]
    assert (bytes(memory), reader.missing, calls) == (b"0123456789", 0, ["whole"])
    assert owner.received == [b"POST /next"]
    assert reader.ended.is_set()


def test_a_lost_connection_ends_the_reading_and_is_told() -> None:
    owner = Owner()
    reader = BodyReader(owner, memoryview(bytearray(10)), pytest.fail)
    reader.get_buffer(-1)
    reader.buffer_updated(4)
    reader.connection_lost(None)
    assert (reader.missing, owner.lost, reader.ended.is_set()) == (6, 1, True)
