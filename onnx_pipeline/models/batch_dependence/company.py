"""Rows put together in different ways, and whether each keeps its answer."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pipeline.base.errors import DataError

__all__ = ["Answers", "Differences", "Feeds", "Rehearsal", "agreeing", "length", "taken", "together"]

Feeds = Mapping[str, np.ndarray[Any, Any]]
Answers = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Feeds], Answers]

_ALONE = 6
"""Rows that are asked one by one: each is a call."""
_MANY = 257
_SECONDS = 0.25
"""What the rehearsal may take, after its first four calls; a slow model is asked less."""


def taken(feeds: Feeds, rows: Sequence[int] | np.ndarray[Any, Any]) -> Feeds:
    """Some rows of a batch, in the order given."""
    return {name: values[np.asarray(rows)] for name, values in feeds.items()}


def together(*parts: Feeds) -> Feeds:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def length(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def agreeing(answer: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], tolerance: float) -> np.ndarray[Any, Any]:
    """Which rows agree: floats within the tolerance of their value, or of what is usual in their column."""
    if answer.dtype.kind != "f":
        equal = answer == truth
        return np.asarray(equal.reshape(len(truth), -1).all(axis=1))
    if truth.dtype == np.float16:
        tolerance = max(tolerance, 1e-3)
    answer, truth = answer.astype(np.float64), truth.astype(np.float64)
    finite = np.where(np.isfinite(truth), np.abs(truth), 0)
    usual = np.median(finite, axis=0, keepdims=True) if len(truth) else 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(answer - truth) <= tolerance * np.maximum(np.maximum(finite, usual), tolerance)
    same = near | (answer == truth) | (np.isnan(answer) & np.isnan(truth))
    return np.asarray(same.reshape(len(truth), -1).all(axis=1))


@dataclass(frozen=True)
class Differences:
    """Which of the compared rows got another answer in other company."""

    scores: np.ndarray[Any, Any]
    """Rows with another number."""
    labels: np.ndarray[Any, Any]
    """Rows with another label."""
    way: str
    """The company in which most rows differed."""


@dataclass(frozen=True)
class Rehearsal:
    """Some rows, what the model answers to each, and the company that they are put into."""

    run: Run
    rows: Feeds
    """Tame ones, whose answers are compared."""
    company: Feeds
    """Wild ones, whose own answers nobody looks at: a sum of 1e30 and −1e30 is whatever its order makes it."""
    others: Feeds
    """As many again, to stand in their places."""

    def differences(self, tolerance: float, of_sizes: float) -> Differences | None:
        """Which rows got two answers; None where every row has one.

        In batches of one size the same sums are added up in the same way, so `tolerance` may be strict. In batches
        of other sizes matrix products differ in their last bits: `of_sizes` is the tolerance there.
        """
        count = length(self.rows)
        beside = together(self.rows, self.company)
        truth = {name: values[:count] for name, values in self.run(beside).items()}
        wrong = {True: np.zeros(count, bool), False: np.zeros(count, bool)}
        most, worst = 0, ""
        deadline = time.monotonic() + _SECONDS
        for calls, (way, feeds, chosen) in enumerate(self._arrangements(count)):
            if calls > 3 and time.monotonic() > deadline:
                break
            try:
                answers = self.run(feeds)
            except DataError:
                continue  # the company is refused, or so many rows are
            rows = length(feeds)
            for name, values in truth.items():
                if answers[name].shape[:1] != (rows,):
                    continue
                allowed = tolerance if rows == length(beside) else of_sizes
                different = ~agreeing(answers[name][: len(chosen)], values[chosen], allowed)
                wrong[values.dtype.kind == "f"][chosen] |= different
                if different.sum() > most:
                    most, worst = int(different.sum()), way
        return Differences(wrong[True], wrong[False], worst) if most else None

    def _arrangements(self, count: int) -> Iterator[tuple[str, Feeds, np.ndarray[Any, Any]]]:
        """The way, the rows, and which of the tame ones they begin with."""
        everyone = np.arange(count)
        few = everyone[:: max(count // _ALONE, 1)][:_ALONE]
        backwards = everyone[::-1]
        yield "in other order", together(taken(self.rows, backwards), self.company), backwards
        yield "beside other rows", together(self.rows, self.others), everyone
        yield "alone", taken(self.rows, few[:1]), few[:1]
        others = np.resize(np.arange(length(self.company)), _MANY)
        for size in (2, 3):
            beside = taken(self.company, others[: size - 1])
            yield f"in a batch of {size}", together(taken(self.rows, few[:1]), beside), few[:1]
        yield "in a large batch", together(self.rows, taken(self.company, others)), everyone
        for one in few[1:]:
            chosen = np.array([one])
            yield "alone", taken(self.rows, chosen), chosen
            yield "in a batch of 2", together(taken(self.rows, chosen), taken(self.company, [one % 3])), chosen
