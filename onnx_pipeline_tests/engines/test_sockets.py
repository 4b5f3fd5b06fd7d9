"""A connection over TLS that ends before it has begun: it is closed, and nothing waits for it or is sent over it."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator

import httpcore
import pytest

from onnx_pipeline.engines.remote.sockets import Sockets


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes connections, and says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


@pytest.fixture
def sockets(ended: threading.Event) -> Sockets:
    made = Sockets(ended)
    made.deadline = time.monotonic() + 600
    return made


def _connect(sockets: Sockets, listener: socket.socket) -> tuple[httpcore.NetworkStream, socket.socket]:
    host, port = listener.getsockname()
    stream = sockets.connect_tcp(host, port)
    other, _ = listener.accept()
    return stream, other


def _reset(connection: socket.socket) -> None:
    """End it by a reset, not in order."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# A socket left to the garbage collector warns of it, and warnings are errors here.
@pytest.mark.parametrize("given_up", [False, True])
def test_a_connection_reset_before_the_handshake_is_closed(
    given_up: bool, sockets: Sockets, listener: socket.socket
) -> None:
    stream, other = _connect(sockets, listener)
    if given_up:
        sockets.shut_down()
    _reset(other)
    with pytest.raises(httpcore.ConnectError):
        stream.start_tls(ssl.create_default_context(), "localhost")


def test_a_connection_given_up_before_the_handshake_sends_nothing(sockets: Sockets, listener: socket.socket) -> None:
    stream, other = _connect(sockets, listener)
    sockets.shut_down()
    with pytest.raises(httpcore.ConnectError):
        stream.start_tls(ssl.create_default_context(), "localhost")
    with other:
        assert other.recv(1) == b""


@pytest.mark.timeout(60)
def test_a_handshake_under_way_ends_when_the_requests_are_given_up(
    ended: threading.Event, sockets: Sockets, listener: socket.socket
) -> None:
    stream, other = _connect(sockets, listener)

    def give_up() -> None:
        # It has greeted, and waits for an answer.
        assert other.recv(1) != b""
        ended.set()
        sockets.shut_down()

    giver = threading.Thread(target=give_up)
    giver.start()
    with pytest.raises(httpcore.ConnectError):
        stream.start_tls(ssl.create_default_context(), "localhost")
    giver.join()
    other.close()
