"""A bound on a coroutine: its result, its errors and its end are those that `await` gives."""

import asyncio
from typing import Any

import pytest

from onnx_pipeline.serving.timeouts import within


async def at_once() -> str:
    return "done"


async def later() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return "done"


async def fails_at_once() -> None:
    raise ValueError("at once")


async def fails_later() -> None:
    await asyncio.sleep(0.001)
    raise ValueError("later")


@pytest.mark.parametrize("work", [at_once, later])
def test_what_ends_in_time_gives_its_result(work: Any) -> None:
    assert asyncio.run(within(60, work())) == "done"


@pytest.mark.parametrize(("work", "says"), [(fails_at_once, "at once"), (fails_later, "later")])
def test_what_it_raises_is_raised(work: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        asyncio.run(within(60, work()))


def test_what_takes_longer_is_ended_and_cleans_up() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.02, endless()))
    assert ended == ["cleaned up"]


def test_a_cancellation_reaches_it_and_what_it_makes_of_it_counts() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "finished first"
        return "slept"

    async def cancelled() -> str:
        task = asyncio.ensure_future(within(60, stubborn()))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) == "finished first"


def test_one_that_nobody_awaits_to_its_end_is_closed() -> None:
    closed = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def abandoned() -> None:
        work = within(60, waits())
        work.send(None)
        work.close()

    asyncio.run(abandoned())
    assert closed == [True]
