"""uvicorn's HTTP protocol, which waits for headers for ever and takes any number, with a bound on both.

Answers leave it in one piece where they are small, and large bodies go past its parser.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from onnx_pipeline.serving.joined_writes import JoinedWrites
from onnx_pipeline.serving.straight_bodies import STRAIGHT, BodyReader

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
        extensions: Any = {STRAIGHT: self._rest_of_body}
        self.scope["extensions"] = extensions
        super().on_headers_complete()

    async def _rest_of_body(self, memory: memoryview) -> int:
        """A `RestOfBody` of the request whose body is coming."""
        here, self.cycle.body = self.cycle.body, bytearray()
        memory[: len(here)] = here
        if self.cycle.disconnected or not self.cycle.more_body:
            return len(here)
        reader = BodyReader(self, memory[len(here) :], self._body_is_here)
        self._read_by(reader)
        try:
            await reader.ended.wait()
        except BaseException:
            # What still comes is no request.
            self.cycle.keep_alive = False
            raise
        return len(memory) - reader.missing

    def _body_is_here(self) -> None:
        self.cycle.more_body = False
        # The one that was asked for the body waits for it still.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._read_by(self)

    def _read_by(self, protocol: asyncio.BaseProtocol) -> None:
        # A transport looks at its protocol when it begins to read.
        self.flow.pause_reading()
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
