"""What reaches the client is what was written, whatever was joined on the way."""

from typing import Any

import pytest

from onnx_pipeline.serving.joined_writes import JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Wire:
    """Stands in for the transport: what was sent, call by call."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> str:
        return f"{name} of the wire"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def joined(wire: Wire) -> Any:
    return JoinedWrites(wire)  # type: ignore[arg-type]


def test_a_head_goes_with_the_first_of_its_body(wire: Wire) -> None:
    transport = joined(wire)
    transport.write(HEAD)
    assert wire.sent == []
    transport.write(b"body")
    transport.write(b"more")
    transport.write(HEAD)
    transport.write(b"next")
    assert wire.sent == [HEAD + b"body", b"more", HEAD + b"next"]


def test_what_no_body_follows_is_not_kept(wire: Wire) -> None:
    transport = joined(wire)
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.sent == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    transport.write(HEAD)
    transport.flush()
    transport.flush()
    assert wire.sent[1:] == [HEAD]


def test_a_large_body_is_not_copied(wire: Wire) -> None:
    transport, body = joined(wire), bytes(1_000_000)
    transport.write(HEAD)
    transport.write(body)
    assert wire.sent == [HEAD, body] and wire.sent[1] is body


def test_a_connection_that_is_closed_sends_what_it_holds_first(wire: Wire) -> None:
    transport = joined(wire)
    transport.write(HEAD)
    transport.close()
    assert (wire.sent, wire.closed) == ([HEAD], True)
    assert transport.get_extra_info("peername") == "peername of the wire"
