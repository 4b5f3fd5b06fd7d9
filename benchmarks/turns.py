"""The one loop that measures: ways take turns, so that what a machine does besides meets all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["best_of", "in_turns", "timed"]

Found = TypeVar("Found")


def in_turns(
    ways: Mapping[str, Callable[[], Found]], rounds: int, *, say: Callable[[str], Any] = lambda _: None
) -> dict[str, list[Found]]:
    """What each way found in each round."""
    found: dict[str, list[Found]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, run in ways.items():
            say(f"{way}, round {number + 1}")
            found[way].append(run())
    return found


def best_of(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each way the least of each figure: what a machine does besides can only make it more."""
    return {way: {key: min(each[key] for each in rounds) for key in rounds[0]} for way, rounds in found.items()}


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of all this process's threads on a processor."""
    started, spent = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - spent
