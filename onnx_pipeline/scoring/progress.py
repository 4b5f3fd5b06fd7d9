"""Progress of a long step, every few seconds, and work that overlaps."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

__all__ = ["Progress", "overlapped"]

T = TypeVar("T")

_EVERY_SECONDS = 5.0


class Progress:
    """Says how far a step is: rows done, rows per second, and time left where the total is known."""

    def __init__(self, what: str, say: Callable[[str], None], *, total: int | None = None) -> None:
        self._what = what
        self._say = say
        self._total = total
        self._rows = 0
        self._started = self._said = time.monotonic()

    def add(self, rows: int) -> None:
        self._rows += rows
        now = time.monotonic()
        if now - self._said < _EVERY_SECONDS:
            return
        self._said = now
        speed = self._rows / (now - self._started)
        text = f"{self._what}: {self._rows:,} rows, {speed:,.0f} rows/s"
        if self._total and speed:
            text += f", about {max(0.0, (self._total - self._rows) / speed):,.0f} s left"
        self._say(text)


def overlapped(
    items: Iterable[T], *, ahead: int = 3, cancel: Callable[[], None] | None = None
) -> Generator[T, None, None]:
    """The same items, produced by a thread of their own up to `ahead` items early.

    Reading, scoring and writing release the GIL, so a step takes as long as its slowest part and not as the sum.
    An exception in the producer is raised here, in its place. Where the consumer ends early, it waits for the
    producer's last item, or calls `cancel`, which makes that end soon.
    """
    channel: queue.Queue[tuple[bool, T | None, BaseException | None]] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(entry: tuple[bool, T | None, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                channel.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((True, item, None)):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer
            put((False, None, error))
        else:
            put((False, None, None))
        finally:
            if isinstance(items, Generator):
                # In the thread that ran it, so that what it holds is given back before the consumer goes on.
                items.close()

    thread = threading.Thread(target=produce, name="overlapped", daemon=True)
    thread.start()
    ended = False
    try:
        while True:
            more, item, error = channel.get()
            ended = not more
            if error is not None:
                raise error
            if ended:
                return
            yield item  # type: ignore[misc]  # `more` says that there is one
    finally:
        stopped.set()
        # Of one that came to its end the thread may be alive still, and there is nothing to cancel.
        if cancel is not None and not ended:
            cancel()
        thread.join()
