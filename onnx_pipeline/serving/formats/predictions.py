"""Scoring for the JSON shapes, and which row it is that a model refuses."""

from collections.abc import Callable, Sequence
from typing import Any

from onnx_pipeline.base.errors import DataError
from onnx_pipeline.serving.formats.asked import Asked
from onnx_pipeline.serving.formats.cells import tensors
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import Tensors

__all__ = ["predicted", "scored"]


def predicted(asked: Asked, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """One list of values per prediction, from cells in the order of the model's columns."""
    count = len(rows)
    answers = scored(asked, tensors(rows, asked.served, accept_nan=asked.accept_nan), count)
    return [values.tolist() for values in asked.served.predictions(answers, count)]


def scored(asked: Asked, feeds: Tensors, count: int, before: int = 0) -> Tensors:
    """The model's output tensors. Raises Refusal, naming the row, where it refuses one; `before` rows came earlier."""
    served = asked.served
    try:
        return served.run(feeds, count, asked.job)
    except DataError:

        def score(start: int, stop: int) -> Tensors:
            part = {name: tensor[start:stop] for name, tensor in feeds.items()}
            return served.run(part, stop - start, asked.job)

        raise _first_refused(count, score, before) from None


def _first_refused(count: int, score: Callable[[int, int], object], before: int) -> Refusal:
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
            400, "row_refused", f"the model refuses row {start + before}: a value lies outside what it was trained on "
            "or can index, such as an unknown category", row=start + before,
        )  # fmt: skip
    return Refusal(500, "scoring_failed", "ONNX Runtime failed on these rows together, and on none of them alone")
