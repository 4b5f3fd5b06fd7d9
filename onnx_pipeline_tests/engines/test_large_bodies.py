"""Bodies of many large parts arrive byte for byte, over plain sockets and TLS; one that nobody takes ends in time."""

import hashlib
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
import trustme

from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.connection import BrokenConnection, Connection
from onnx_pipeline.spec.engines.remote import RemoteOptions

Serve = Callable[[socket.socket], None]


@contextmanager
def served_by(serve: Serve) -> Iterator[int]:
    """The port of a server that hands each connection to `serve`, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=30)
        assert not thread.is_alive()


def hashing(connection: socket.socket) -> None:
    """Answer two requests with the SHA-256 of what came, read in small and slow steps."""
    with connection.makefile("rb", buffering=0) as raw:
        for _ in range(2):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += raw.read(1)
            (length,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            digest = hashlib.sha256()
            while length:
                piece = raw.read(min(length, 50_000))
                digest.update(piece)
                length -= len(piece)
                time.sleep(0.0005)
            answer = digest.hexdigest().encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))


def body(seed: int) -> Body:
    """20 MB in parts of many sizes, `bytes` and memory of others."""
    random = np.random.default_rng(seed)
    sizes = [1, 70_000, 3, 5_000_000, 65_537, *[130_001] * 100, 1_500_000, 7]
    parts = [random.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    return Body.of(part.tobytes() if place % 3 == 0 else part.data for place, part in enumerate(parts))


def connection_to(url: str, tls: ssl.SSLContext | None = None) -> Connection:
    return Connection(RemoteOptions(kind="remote", url=url), url, tls)


def assert_arrives(connection: Connection, url: str, sent: Body) -> None:
    assert len(sent.parts) > 100
    answer = connection.request("POST", url, {}, sent, seconds=60)
    assert (answer.status, answer.body.decode()) == (200, digest_of(sent))


def digest_of(sent: Body) -> str:
    digest = hashlib.sha256()
    for part in sent.parts:
        digest.update(part)
    return digest.hexdigest()


def test_over_a_plain_socket() -> None:
    with served_by(hashing) as port:
        url = f"http://127.0.0.1:{port}/score"
        with closing(connection_to(url)) as connection:
            for seed in range(2):
                assert_arrives(connection, url, body(seed))


def test_it_is_sent_from_where_it_lies() -> None:
    with served_by(hashing) as port:
        url = f"http://127.0.0.1:{port}/score"
        with closing(connection_to(url)) as connection:
            assert_arrives(connection, url, body(0))
            sent = body(1)
            tracemalloc.start()
            try:
                assert_arrives(connection, url, sent)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    # No part was copied, of which the largest has five million bytes. What is left is the server's, in the same process.
    assert peak < 1_000_000


def test_over_tls() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)

    def serve(connection: socket.socket) -> None:
        with theirs.wrap_socket(connection, server_side=True) as wrapped:
            hashing(wrapped)

    with served_by(serve) as port:
        url = f"https://localhost:{port}/score"
        with closing(connection_to(url, ours)) as connection:
            for seed in range(2):
                assert_arrives(connection, url, body(seed))


def test_a_service_that_takes_nothing_is_given_up_at_the_deadline() -> None:
    given_up = threading.Event()

    def serve(connection: socket.socket) -> None:
        given_up.wait()

    with served_by(serve) as port:
        url = f"http://127.0.0.1:{port}/score"
        with closing(connection_to(url)) as connection:
            with pytest.raises(BrokenConnection, match="within 1 s"):
                connection.request("POST", url, {}, body(0), seconds=1)
            given_up.set()


def test_an_answer_that_comes_before_the_whole_body_was_taken_is_read() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!")
        connection.shutdown(socket.SHUT_WR)
        # Taken in, so that the kernel does not reset the connection before the answer is read.
        while connection.recv(1_000_000):
            pass

    with served_by(serve) as port:
        url = f"http://127.0.0.1:{port}/score"
        with closing(connection_to(url)) as connection:
            answer = connection.request("POST", url, {}, body(0), seconds=60)
        assert (answer.status, answer.body) == (413, b"no!")
