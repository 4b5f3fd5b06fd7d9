"""Large bodies, from the socket straight to the memory in which they are read.

On the usual way a body of 7 MB comes in pieces of 256 KB. Each is copied five times, and wakes its request's task: more
of the processor's time than a model takes for the rows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["STRAIGHT", "BodyReader", "RestOfBody", "rest_of_body"]

STRAIGHT = "onnx_pipeline.rest_of_body"
"""The ASGI extension by which a server offers it."""

RestOfBody = Callable[[memoryview], Awaitable[int]]
"""Fills memory with what of a body `receive` has not given yet, which must be that long.

Returns how many bytes came: fewer where the client went away.
"""

_SCRATCH_BYTES = 64 * 1024


def rest_of_body(scope: Mapping[str, Any]) -> RestOfBody | None:
    """What the server of a request offers; None under any other server than ours."""
    offered: RestOfBody | None = scope.get("extensions", {}).get(STRAIGHT)
    return offered


class BodyReader(asyncio.BufferedProtocol):
    """A connection's protocol for as long as a body is read into `memory`.

    `whole` is called once that is full, and gives the connection back to its `owner`, whose everything else is.
    """

    def __init__(self, owner: asyncio.Protocol, memory: memoryview, whole: Callable[[], None]) -> None:
        self._owner = owner
        self._left = memory
        self._whole = whole
        self._scratch: bytearray | None = None
        self.ended = asyncio.Event()
        """Whether nothing more will come: the body is whole, or the client is gone."""

    @property
    def missing(self) -> int:
        """Bytes of the body that did not come."""
        return len(self._left)

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        if self._left:
            return self._left
        # Some transports read first, and ask afterwards where to: the next request may be in it.
        self._scratch = bytearray(_SCRATCH_BYTES)
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._scratch is not None:
            data, self._scratch = bytes(memoryview(self._scratch)[:nbytes]), None
            self._owner.data_received(data)
            return
        self._left = self._left[nbytes:]
        if not self._left:
            self._whole()
            self.ended.set()

    def eof_received(self) -> bool | None:
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()
