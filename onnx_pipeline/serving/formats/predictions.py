"""Scoring for the JSON shapes, and which row it is that a model refuses."""

from collections.abc import Callable, Sequence
from typing import Any

from onnx_pipeline.errors import DataError
from onnx_pipeline.serving.formats.asked import Asked
from onnx_pipeline.serving.formats.cells import tensors
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["first_refused", "predicted"]


def predicted(asked: Asked, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """One list of values per prediction, from cells in the order of the model's columns."""
    served = asked.served
    feeds = tensors(rows, served, accept_nan=asked.accept_nan)
    count = len(rows)
    try:
        answers = served.run(feeds, count, asked.job)
    except DataError:
        raise first_refused(
            count,
            lambda start, stop: served.run(
                {name: tensor[start:stop] for name, tensor in feeds.items()}, stop - start, asked.job
            ),
        ) from None
    return [values.tolist() for values in served.predictions(answers, count)]


def first_refused(count: int, score: Callable[[int, int], object]) -> Refusal:
    """Which row a model refuses, by halving: what ONNX Runtime says of it names parts of the graph, not of the data."""
    start, stop = 0, count
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            score(start, middle)
        except DataError:
            stop = middle
        else:
            start = middle
    try:
        score(start, stop)
    except DataError:
        return Refusal(
            400, "row_refused", f"the model refuses row {start}: a value lies outside what it was trained on or can "
            "index, such as an unknown category", row=start,
        )  # fmt: skip
    return Refusal(500, "scoring_failed", "ONNX Runtime failed on these rows together, and on none of them alone")
