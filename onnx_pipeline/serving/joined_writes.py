"""A connection's transport that sends the head of an answer together with the first of its body.

uvicorn writes them one after the other, and uvloop sends at once what it is given: two calls of the system and two
packets, a fifth of what the server does for a small request.
"""

import asyncio
from typing import Any

__all__ = ["JoinedWrites"]

_SMALL = 64 * 1024
"""Bytes that are copied behind a head; more go by themselves."""
_HEAD, _INTERIM = b"HTTP/1.1 ", b"HTTP/1.1 1"
"""How the heads of answers begin, and those that no body follows, such as 100 Continue."""


class JoinedWrites:
    """Everything but `write` and what sends the rest is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Sends `data`, or keeps it where it is a head, until there is more, or `flush` or `close` is called."""
        if self._head:
            if len(data) <= _SMALL:
                data = self._head + data
            else:
                self._transport.write(self._head)
            self._head = b""
        elif data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Sends what is kept: an answer is complete, and had no body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Closes the connection once everything is sent."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
