"""Bounds: how large a request may be, how many are held, scored and waiting, and how long each part may take."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import anyio
import numpy as np
from starlette.types import Receive

from onnx_pipeline.serving.memory import Body, Memory
from onnx_pipeline.serving.refusals import ClientGoneError, Refusal
from onnx_pipeline.serving.served import Job
from onnx_pipeline.serving.settings import ServingSettings
from onnx_pipeline.serving.straight_bodies import RestOfBody
from onnx_pipeline.serving.timeouts import within

__all__ = ["Body", "Intake", "ScoringThreads"]

ResultT = TypeVar("ResultT")
_GONE = "the client went away while it sent its request"
_DRAIN_SECONDS = 5.0
"""For a body that is refused: a client that reads its answer after sending everything gets to see it."""
_STRAIGHT_BYTES = 256 * 1024
"""Of a body whose rest is worth reading by itself: what comes at once on the usual way."""
_WATCH_AFTER_SECONDS = 1.0
"""A job this old is worth asking whether its client still waits."""


class Intake:
    """Receives bodies; what all requests together hold is bounded."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self.memory = Memory(settings.max_held_bytes, most_waiting=settings.queue)

    def body(self, receive: Receive, length: int | None, rest: RestOfBody | None) -> "_Receiving":
        """`async with` gives the whole body, which counts as held for as long as the block runs.

        `length` is what the request says of itself; a body is not received before there is room for it. Where the
        server offers it, `rest` reads a large one. Raises Refusal (413, 408, 503) or ClientGoneError, and then holds
        nothing.
        """
        return _Receiving(self, receive, length, rest)

    async def take(self, receive: Receive, length: int | None, rest: RestOfBody | None, held: "_Held") -> Body:
        """The whole body; `held` is what of it counts as held, also where this raises."""
        limit = self._settings.max_body_bytes
        if length is not None and length > limit:
            await self._drain(receive)
            raise self._too_large()
        if length:
            await self.memory.admit(length, seconds=self._settings.score_seconds)
            held.add(length)
        try:
            return await within(self._settings.receive_seconds, self._collect(receive, length, rest, held))
        except TimeoutError:
            raise Refusal(
                408, "body_too_slow", f"the request did not arrive within {self._settings.receive_seconds:g} s; "
                "send smaller requests", close=True,
            ) from None  # fmt: skip

    async def _collect(self, receive: Receive, length: int | None, rest: RestOfBody | None, held: "_Held") -> Body:
        body = bytearray()
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGoneError(_GONE)
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            before, size = size, size + len(chunk)
            if size > self._settings.max_body_bytes:
                if more:
                    await self._drain(receive)
                raise self._too_large()
            if size > held.size:
                self.memory.grow(size - held.size)
                held.add(size - held.size)
            if not more and not body:
                return chunk
            if rest is not None and before == 0 and length is not None and length - size >= _STRAIGHT_BYTES:
                return await _straight(chunk, length, rest)
            if not body and length is not None:
                # To grow piece by piece took half of what the service does for a body of 7 MB.
                body = bytearray(length)
            body[before:size] = chunk
            if not more:
                del body[size:]
                return body

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "body_too_large", f"a request may have {self._settings.max_body_bytes:,} bytes; send the rows in "
            "several requests", close=True,
        )  # fmt: skip

    async def _drain(self, receive: Receive) -> None:
        left = self._settings.max_body_bytes
        with anyio.move_on_after(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def _straight(first: bytes, length: int, rest: RestOfBody) -> Body:
    # Not zeroed, which took a tenth of what a request of 7 MB does: all of it is written, or none of it read.
    body = np.empty(length, np.uint8).data
    body[: len(first)] = first
    if await rest(body[len(first) :]) < length - len(first):
        raise ClientGoneError(_GONE)
    return body


class _Held:
    """Bytes of one request that count as held."""

    def __init__(self) -> None:
        self.size = 0
        self.sizes: list[int] = []

    def add(self, size: int) -> None:
        self.size += size
        self.sizes.append(size)


class _Receiving:
    """A body that is received when the block begins, and let go when it ends."""

    def __init__(self, intake: Intake, receive: Receive, length: int | None, rest: RestOfBody | None) -> None:
        self._intake = intake
        self._asked = receive, length, rest
        self._held = _Held()

    async def __aenter__(self) -> Body:
        try:
            return await self._intake.take(*self._asked, self._held)
        except BaseException:
            self._let_go()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for size in self._held.sizes:
            self._intake.memory.release(size)


class ScoringThreads:
    """A bounded number of threads that score, and a bounded queue before them.

    ONNX Runtime releases the GIL while it runs, so the event loop goes on meanwhile.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._most = settings.threads + settings.queue
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="scoring")
        self.jobs = 0
        """Running and waiting; a job whose client got an error counts until its thread is free again."""

    async def run(self, work: Callable[[Job], ResultT], receive: Receive) -> ResultT:
        """The result of `work(job)`.

        Raises what it raises, Refusal where the queue is full (429) or time is up (503), and ClientGoneError.
        """
        if self.jobs >= self._most:
            raise Refusal(
                429, "too_many_requests", f"{self.jobs} requests are being scored or waiting already; try again later",
                retry_after=1,
            )  # fmt: skip
        self.jobs += 1
        job = Job()
        loop = asyncio.get_running_loop()
        future = self._executor.submit(work, job)
        done = asyncio.wrap_future(future)
        future.add_done_callback(lambda _: _soon(loop, self._finished))
        try:
            await asyncio.wait((done,), timeout=min(_WATCH_AFTER_SECONDS, self._settings.score_seconds))
            if not done.done():
                await self._watch(done, receive)
            return done.result()
        finally:
            if not done.done():
                job.stop()
                _forget(future, done)

    async def _watch(self, done: "asyncio.Future[ResultT]", receive: Receive) -> None:
        """Waits for the rest of the time, or until the client is gone."""
        left = self._settings.score_seconds - _WATCH_AFTER_SECONDS
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((done, gone), timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if done.done():
            return
        if gone.done() and not gone.cancelled():
            raise ClientGoneError("the client went away before its rows were scored")
        raise Refusal(
            503, "timed_out", f"the rows were not scored within {self._settings.score_seconds:g} s; send fewer rows in "
            "a request, or try again when the service is less busy", retry_after=1,
        )  # fmt: skip

    def _finished(self) -> None:
        self.jobs -= 1

    def close(self) -> None:
        """Ends the threads once what they hold is done."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _forget(future: "Future[ResultT]", done: "asyncio.Future[ResultT]") -> None:
    """What a job that nobody waits for still raises is not an error of the event loop."""
    future.cancel()
    done.add_done_callback(lambda finished: finished.cancelled() or finished.exception())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
