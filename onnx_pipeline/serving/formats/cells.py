"""From rows of JSON values to the tensors that the model takes."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from onnx_pipeline.base.inference_protocol import NULLS_HEADER
from onnx_pipeline.base.rules import MISSING
from onnx_pipeline.serving.formats.values import MisfitError, array_of, reason_against
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.served import ServedModel, Tensors

__all__ = ["missing_value", "tensors", "value_misfit"]


def tensors(rows: Sequence[Sequence[Any]], served: ServedModel, *, accept_nan: bool) -> Tensors:
    """The input tensors of rows whose cells stand in the order of the model's columns; all rows have that length.

    Raises Refusal, naming column and row, for a cell that does not fit.
    """
    try:
        with np.errstate(over="raise", under="ignore"):
            made = _by_column(rows, served) if served.one_matrix is None else _matrix(rows, served)
    except (MisfitError, FloatingPointError):
        raise _explained(rows, served) from None
    refused = served.refused_missing(accept_nan=accept_nan)
    if refused:
        _check_missing(rows, served, refused)
    return made


def _matrix(rows: Sequence[Sequence[Any]], served: ServedModel) -> Tensors:
    (bound,) = served.inputs
    name = bound.tensor.name
    cells = array_of(list(chain.from_iterable(rows)), bound.tensor.dtype, tensor=name)
    return {name: cells.reshape(len(rows), len(bound.columns))}


def _by_column(rows: Sequence[Sequence[Any]], served: ServedModel) -> Tensors:
    cells: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(served.columns)
    columns = dict(zip(served.columns, cells, strict=True))
    feeds = {}
    for bound in served.inputs:
        tensor = bound.tensor
        arrays = [array_of(columns[column], tensor.dtype, tensor=tensor.name) for column in bound.columns]
        if len(tensor.shape) == 1:
            feeds[tensor.name] = arrays[0]
        else:
            feeds[tensor.name] = arrays[0].reshape(-1, 1) if len(arrays) == 1 else np.column_stack(arrays)
    return feeds


def _check_missing(rows: Sequence[Sequence[Any]], served: ServedModel, refused: Mapping[str, str]) -> None:
    places = [(served.columns.index(name), name) for name in refused]
    for number, row in enumerate(rows):
        for place, name in places:
            if row[place] is None:
                raise missing_value(name, number, served)


def value_misfit(column: str, row: int, reason: str) -> Refusal:
    """The answer to a value that has no form in the model's dtype."""
    return Refusal(400, "value_misfit", f"row {row}, column {column!r} {reason}", column=column, row=row)


def missing_value(column: str, row: int, served: ServedModel) -> Refusal:
    """The answer to a missing value in a column where it would mislead."""
    way_out = "" if column in served.unsafe_even_so else f", or accept that with the header `{NULLS_HEADER}: nan`"
    return Refusal(
        400, "value_missing", f"row {row}, column {column!r} is {MISSING}, and {served.unsafe[column]}. Send a "
        f"value{way_out}", column=column, row=row,
    )  # fmt: skip


def _explained(rows: Sequence[Sequence[Any]], served: ServedModel) -> Refusal:
    for number, row in enumerate(rows):
        for (name, dtype), value in zip(served.dtypes.items(), row, strict=True):
            reason = reason_against(value, dtype)
            if reason is not None:
                return value_misfit(name, number, reason)
    return Refusal(400, "value_misfit", "a value has no form in the dtypes of the model")
