"""uvicorn's HTTP protocol, which waits for headers for ever and takes any number, with a bound on both.

Answers leave it in one piece where they are small.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from onnx_pipeline.serving.joined_writes import JoinedWrites

__all__ = ["BoundedProtocol"]

_HEAD_BYTES = 64 * 1024
_TOO_LONG = f"A request's head may have {_HEAD_BYTES} bytes."
_HEAD_SECONDS = 20.0
"""From the first byte of a request, or from the connection, to the end of its headers."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request's head is too slow, and answers 400 to one that is too long."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._head_bytes = 0
        """Of a head that came in several parts, those that are here."""
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = JoinedWrites(transport)
        super().connection_made(self._joined)  # type: ignore[arg-type]
        self._expect_head()

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_head = False
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # A head that came as a whole, as nearly all do, needs no timer.
        if self._in_head and not self.transport.is_closing():
            self._expect_head()
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._forget_head()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > _HEAD_BYTES:
            # The parser turns this into its own error, to which uvicorn answers 400.
            raise ValueError(_TOO_LONG)
        super().on_headers_complete()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
