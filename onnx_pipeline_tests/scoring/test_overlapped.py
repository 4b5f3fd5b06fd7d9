"""Items made in a thread of their own: what comes to its end is not cancelled, and what is given up is."""

import time
from collections.abc import Generator, Iterator

import pytest

from onnx_pipeline.scoring.progress import overlapped


class Slow(Generator[int, None, None]):
    """Gives its numbers, and takes a moment to close, in which its thread is alive."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.closed = False

    def send(self, value: None) -> int:
        return next(self._numbers)

    def throw(self, *raised: object) -> int:
        raise AssertionError("nothing is thrown into it")

    def close(self) -> None:
        time.sleep(0.3)
        self.closed = True


def failing() -> Iterator[int]:
    yield 1
    raise ValueError("the second")


def test_what_comes_to_its_end_is_not_cancelled() -> None:
    cancelled: list[bool] = []
    items = Slow(iter(range(7)))
    assert list(overlapped(items, cancel=lambda: cancelled.append(True))) == list(range(7))
    assert (items.closed, cancelled) == (True, [])


def test_what_fails_is_raised_in_its_place_and_not_cancelled() -> None:
    cancelled: list[bool] = []
    items = Slow(failing())
    made = overlapped(items, cancel=lambda: cancelled.append(True))
    assert next(made) == 1
    with pytest.raises(ValueError, match="the second"):
        next(made)
    assert (items.closed, cancelled) == (True, [])


def test_what_is_given_up_is_cancelled_and_closed() -> None:
    cancelled: list[bool] = []
    items = Slow(iter(range(1_000)))
    made = overlapped(items, cancel=lambda: cancelled.append(True))
    assert next(made) == 0
    made.close()
    assert (items.closed, cancelled) == (True, [True])
