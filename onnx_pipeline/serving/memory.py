"""What requests hold, counted before it is there: their bodies, and the values that these become once they are read.

JSON grows: 28 columns of records take 6 times their text as Python's values, rows of short numbers 11 times, lists of
next to nothing 27 times. So a body is counted by its length before it is received, and by its commas, colons and
brackets before it is parsed. What does not fit waits; what could never fit is refused.

A body is only let in where the largest one at hand could still be read beside all of them, by the usual factor. So
requests that wait for each other always end: there is room for one of them.
"""

import asyncio
import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from onnx_pipeline.base.sizes import readable_bytes
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.timeouts import timeout

__all__ = ["Body", "Memory", "needed"]

Body = bytes | bytearray | memoryview

_SMALL = 64 * 1024
"""Bytes of a body whose values are not counted: as many as there are threads come to nothing."""
_LARGE = 32 * 2**20
"""Bytes of values after which free memory is given back to the operating system, which takes some milliseconds."""
_FACTOR = 12
"""What a body may take beside itself, of the shapes that people send; of others one may be told to come again."""
_PIECE = 2**20
"""Bytes that are looked through at once: a comparison of all of them would take as much memory again."""
_OF_VALUE, _OF_KEY, _OF_CONTAINER, _OF_TEXT = 64, 56, 104, 40
"""Bytes: a number with its places in a row, in a flat list, in arrays; a place in a dict; an empty dict or list; a str.

Measured as the peak of a process of its own that parses, the parser's nodes included: never more than counted.
"""


def needed(body: Body, *, is_json: bool, is_binary: bool) -> int:
    """Bytes that a body's values take at most while they are scored, beside the body.

    `is_json` where it is JSON or begins with it, `is_binary` where it has arrays as they lie in memory.
    """
    return (_of_json(body) if is_json else 0) + (2 * len(body) if is_binary else 0)


def _of_json(body: Body) -> int:
    text = np.frombuffer(body, np.uint8)
    counts = dict.fromkeys(b',:"{[', 0)
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        for mark in counts:
            counts[mark] += int(np.count_nonzero(piece == mark))
    values, keys, quotes, objects, lists = counts.values()
    texts = max(0, quotes // 2 - keys)
    held = _OF_VALUE * values + _OF_KEY * keys + _OF_TEXT * texts + _OF_CONTAINER * (objects + lists)
    return held + len(body)  # The parser works on a copy of the text.


class Memory:
    """The bytes of all requests together; `limit` is the most."""

    def __init__(self, limit: int, *, most_waiting: int) -> None:
        self._limit = limit
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._bodies: list[int] = []
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.bodies = 0
        """Bytes of bodies; only the event loop changes it."""
        self.values = 0
        """Bytes of what was parsed of them."""

    async def admit(self, size: int, *, seconds: float) -> None:
        """Count a body that will be received; waits for room, and raises Refusal where none comes within `seconds`.

        Small ones pass by those that wait.
        """
        self._loop = asyncio.get_running_loop()
        if (size <= _SMALL or not self._waiting) and self._fits(size):
            self._take(size)
            return
        if len(self._waiting) >= self._most_waiting:
            raise _busy()
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((size, turn))
        try:
            async with timeout(seconds):
                await asyncio.shield(turn)
        except BaseException as error:
            if turn.done():
                self.release(size)
            else:
                self._waiting.remove((size, turn))
            if isinstance(error, TimeoutError):
                raise _busy() from None
            raise

    def grow(self, size: int) -> None:
        """Count more of a body whose length nobody said. Raises Refusal where there is no room."""
        if not self._fits(size):
            raise _busy()
        self._take(size)

    def release(self, size: int) -> None:
        """A body is gone; called on the event loop."""
        if size <= _SMALL and not self._waiting:
            self.bodies -= size  # who waits to read one looks again by itself
            return
        with self._changed:
            if size in self._bodies:
                self._bodies.remove(size)
            self.bodies -= size
            self._changed.notify_all()
        self._let_in()

    @contextmanager
    def reading(self, body: Body, *, is_json: bool, is_binary: bool, go_on: Callable[[], None]) -> Iterator[None]:
        """Around the parsing and scoring of a body, in a thread: waits for room, calling `go_on` meanwhile.

        Raises Refusal for what could never be read within the limit.
        """
        if len(body) <= _SMALL:
            yield
            return
        need = needed(body, is_json=is_json, is_binary=is_binary)
        if need + len(body) > self._limit:
            raise Refusal(
                413, "body_too_large", f"the values of this request take about {readable_bytes(need)} once they are "
                f"read, and the service holds {readable_bytes(self._limit)} at most; send the rows in several "
                "requests, or as Arrow",
            )  # fmt: skip
        with self._changed:
            while self.bodies + self.values + need > self._limit:
                if not self.values:
                    raise _busy()
                self._changed.wait(0.1)
                go_on()
            self.values += need
        try:
            yield
        finally:
            if need > _LARGE:
                _give_back()
            with self._changed:
                self.values -= need
                self._changed.notify_all()
            if self._loop is not None and self._waiting and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._let_in)

    def _fits(self, size: int) -> bool:
        bodies = self.bodies + size
        if bodies + self.values > self._limit:
            return False
        largest = max(size, max(self._bodies, default=0))
        return self.bodies == 0 or bodies + _FACTOR * largest <= self._limit or bodies <= _SMALL * _FACTOR

    def _take(self, size: int) -> None:
        self.bodies += size
        if size > _SMALL:
            self._bodies.append(size)

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._take(size)
                turn.set_result(None)


def _give_back() -> None:
    """Let go of what is free, which glibc keeps for each thread: six requests of 54 MB left 130 MB more than one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _busy() -> Refusal:
    return Refusal(
        503, "busy", "the service holds as much of other requests as it may; try again later", retry_after=1, close=True
    )
