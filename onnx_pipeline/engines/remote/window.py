"""Several requests under way at once, their answers in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def in_order(
    items: Iterable[ItemT], work: Callable[[ItemT], ResultT], *, at_once: int, stop: Callable[[], None]
) -> Iterator[tuple[ItemT, ResultT]]:
    """Each item with its result, in the order of the items; at most `at_once` are worked on, and as many again wait.

    The first failure, of whichever item, calls `stop`, which makes what is under way end soon, and is raised here. So
    does the end of this iterator, however it comes.
    """
    failure: list[BaseException] = []
    lock = threading.Lock()

    def guarded(item: ItemT) -> ResultT:
        try:
            return work(item)
        except BaseException as error:
            with lock:
                first = not failure
                failure.append(error)
            if first:
                stop()
            raise

    waiting: deque[tuple[ItemT, Future[ResultT]]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="scoring-request") as threads:

        def next_one() -> tuple[ItemT, ResultT]:
            item, future = waiting.popleft()
            try:
                return item, future.result()
            except BaseException:
                # What failed first is the reason; the others only found themselves stopped.
                if failure:
                    raise failure[0] from None
                raise

        try:
            for item in items:
                waiting.append((item, threads.submit(guarded, item)))
                while len(waiting) >= 2 * at_once or (waiting and waiting[0][1].done()):
                    yield next_one()
                if failure:
                    break
            while waiting:
                yield next_one()
        finally:
            if waiting or failure:
                stop()
                threads.shutdown(wait=True, cancel_futures=True)
