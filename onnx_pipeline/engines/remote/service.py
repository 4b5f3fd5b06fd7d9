"""What all requests to one service share: whether it may be asked now."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from onnx_pipeline.base.errors import ServiceUnavailableError

__all__ = ["LONGEST_WAIT_SECONDS", "Service", "service_of"]

LONGEST_WAIT_SECONDS = 120.0
"""A service that wants to be left alone for longer than this ends the run, which is tried again later."""


class Service:
    """Circuit breaker, and the moment before which the service asked not to be asked (`Retry-After`).

    After `failures` failures in a row nothing is sent for `seconds`; then one request tries it while the others wait,
    and what becomes of that one decides.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._changed = threading.Condition()
        self._failed = 0
        self._open_until: float | None = None
        self._trying = False
        self._not_before = 0.0

    def asked_to_wait(self, seconds: float) -> None:
        """The service answered with Retry-After."""
        with self._changed:
            self._not_before = max(self._not_before, self._clock() + seconds)

    @contextmanager
    def asking(self, stopped: threading.Event) -> Iterator[None]:
        """Around one try. Waits as long as the service wants; raises ServiceUnavailableError where that is too long."""
        probe = self._enter(stopped)
        try:
            yield
        finally:
            if probe:
                with self._changed:
                    self._trying = False
                    self._changed.notify_all()

    def _enter(self, stopped: threading.Event) -> bool:
        """Whether this is the one request that tries a service that failed."""
        with self._changed:
            while not stopped.is_set():
                now = self._clock()
                wait = self._not_before - now
                if wait > LONGEST_WAIT_SECONDS:
                    raise ServiceUnavailableError(
                        f"{self._url} asked to be left alone for another {wait:,.0f} s (Retry-After), which is longer "
                        f"than a run waits ({LONGEST_WAIT_SECONDS:g} s); run the partition again after that"
                    )
                if wait > 0:
                    self._changed.wait(min(wait, 0.5))
                    continue
                if self._open_until is None:
                    return False
                if now < self._open_until:
                    raise ServiceUnavailableError(
                        f"{self._url} failed {self._failed} times in a row, so nothing is sent to it for another "
                        f"{self._open_until - now:.0f} s (`breaker_seconds`); look at the service's own log"
                    )
                if not self._trying:
                    self._trying = True
                    return True
                self._changed.wait(0.5)
            return False

    def succeeded(self) -> None:
        with self._changed:
            self._failed, self._open_until = 0, None
            self._changed.notify_all()

    def failed(self, *, most: int, seconds: float) -> None:
        """A try found the service down, or failing."""
        with self._changed:
            self._failed += 1
            if self._failed >= most:
                self._open_until = self._clock() + seconds
            self._changed.notify_all()


_lock = threading.Lock()
_services: dict[str, Service] = {}


def service_of(url: str) -> Service:
    """What is known of the service behind a URL, in this process: one that failed is left alone by the next run."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"
    with _lock:
        return _services.setdefault(place, Service(place))
