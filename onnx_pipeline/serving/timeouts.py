"""Bounds on how long something may take.

`async with timeout(seconds)` raises TimeoutError; `within` does the same for a coroutine, and sets no timer where that
ends without having waited, as a small request's receiving and sending do: setting and cancelling one takes longer.
"""

import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import anyio

    @asynccontextmanager
    async def timeout(seconds: float) -> AsyncIterator[None]:
        """As asyncio's of Python 3.11, which takes half the time: a request passes through two of them."""
        with anyio.fail_after(seconds):
            yield


__all__ = ["timeout", "within"]

ResultT = TypeVar("ResultT")


async def within(seconds: float, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """What `work` returns; TimeoutError where that takes longer."""
    try:
        awaited = work.send(None)
    except StopIteration as done:
        result: ResultT = done.value
        return result
    async with timeout(seconds):
        return await _rest(work, awaited)


@coroutine
def _rest(work: Coroutine[Any, Any, ResultT], awaited: Any) -> Generator[Any, Any, ResultT]:
    """What `await` does with a coroutine, from the first thing on that it waits for."""
    try:
        while True:
            try:
                sent = yield awaited
            except GeneratorExit:  # noqa: PERF203 - one of the two ends it
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's to see
                awaited = work.throw(error)
            else:
                awaited = work.send(sent)
    except StopIteration as done:
        result: ResultT = done.value
        return result
