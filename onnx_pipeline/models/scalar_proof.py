"""Whether a model's form of scalars answers as the model does: tried in ONNX Runtime, row by row, before it is used."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnx_pipeline.base.errors import DataError, UnsupportedModelError
from onnx_pipeline.base.rules import is_float, largest
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.batch_dependence.company import agreeing
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.outputs import OutputColumn, column_values
from onnx_pipeline.models.probe_rows import probe_rows, vocabulary
from onnx_pipeline.models.protobuf import parse
from onnx_pipeline.models.runtime import RuntimeOptions, open_session, run
from onnx_pipeline.models.scalar_form import ScalarForm
from onnx_pipeline.models.signature import TensorSignature

__all__ = ["prove"]

Values = Mapping[str, np.ndarray[Any, Any]]

_ROWS = 32
"""Made-up rows of each kind."""
_LEAST = 8
"""Rows that have to be answered for a proof."""
_TOLERANCE = 1e-5
"""As every engine's: kernels may add up in another order where a dimension is known."""
_GREATEST = largest("float")
_EDGES: Sequence[float] = (math.nan, math.inf, -math.inf, _GREATEST, -_GREATEST, 1e-45)
_KINDS: Sequence[tuple[int, float | None]] = ((0, None), (1, None), (2, None), *((0, edge) for edge in _EDGES))
"""Wildness, as `probe_rows` has it, and what one column is at a time."""


def prove(
    form: ScalarForm, data: bytes, binding: Binding, outputs: Sequence[OutputColumn], options: RuntimeOptions
) -> int:
    """How many made-up rows got the same answers from the form as from the model `data`, whose form it is.

    Raises UnsupportedModelError where an answer differs, or one of them refuses a row that the other takes.
    """
    original = open_session(data, options, quiet=True)
    rewritten = open_session(form.data, options, quiet=True)
    names = list(dict.fromkeys(column.output for column in outputs))
    answered = 0
    for columns in _made_up(data, binding, form):
        tensors, scalars = _tensors(binding, columns), _scalars(form, columns)
        for row in range(_ROWS):
            values = _row(columns, row)
            truth = _answers(original, names, _row(tensors, row))
            found = _predictions(rewritten, form, _row(scalars, row))
            if (truth is None) != (found is None):
                raise _differs("one of them refuses a row", values)
            if truth is None or found is None:
                continue
            answered += 1
            answers = dict(zip(names, truth, strict=True))
            for column, value in zip(outputs, found, strict=True):
                wanted = column_values(answers[column.output], 1, column)
                if wanted.dtype.kind == "f":
                    # No target holds another one: infinities are NULL there, as NaN is.
                    wanted = np.where(np.isfinite(wanted), wanted, np.nan)
                if not agreeing(value.astype(wanted.dtype), wanted, _TOLERANCE).all():
                    what = f"{column.name} is {value.item()!r} instead of {wanted.item()!r}"
                    raise _differs(what, values)
    if answered < _LEAST:
        raise UnsupportedModelError(
            f"the model refuses all but {answered} of {len(_KINDS) * _ROWS} made-up rows, so it cannot be proven that "
            "its form of one scalar per column answers alike"
        )
    return answered


def _differs(what: str, values: Values) -> UnsupportedModelError:
    shown = ", ".join(f"{name} {value.item()!r}" for name, value in list(values.items())[:5])
    return UnsupportedModelError(
        f"its form of one scalar per column does not answer as the model does: {what} ({shown}"
        f"{', ...' if len(values) > 5 else ''})"
    )


def _made_up(data: bytes, binding: Binding, form: ScalarForm) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """By column, values of the dtype that it is read in: tame ones, wilder ones, and tame ones with edges.

    In these a column, or every 32nd, is out of the ordinary in one row and tame in the others: what one column does to
    an answer is not hidden by another.
    """
    tensors = [TensorSignature(name, dtype, (None,)) for name, dtype in binding.columns.items()]
    words = vocabulary(parse(data, source="the model"))
    never = [
        column.column for column in form.columns if column.there is None and is_float(binding.columns[column.column])
    ]
    for number, (wildness, edge) in enumerate(_KINDS):
        made = probe_rows(tensors, [1] * len(tensors), words, _ROWS, wildness=wildness, seed=1000 + number)
        floats = [name for name, dtype in binding.columns.items() if is_float(dtype)]
        for place, name in enumerate(floats if edge is not None else ()):
            with np.errstate(over="ignore"):
                made[name][place % _ROWS] = edge
        for name in never:
            made[name][np.isnan(made[name])] = 1.0
        yield made


def _row(values: Values, row: int) -> Values:
    return {name: value[row : row + 1] for name, value in values.items()}


def _tensors(binding: Binding, values: Values) -> Values:
    """The model's own tensors from columns."""
    made = {}
    for bound in binding.inputs:
        kind = column_type_of_onnx(bound.tensor.dtype, tensor=bound.tensor.name).numpy
        nothing = np.full(_ROWS, "", object) if bound.tensor.dtype == "string" else np.zeros(_ROWS, kind)
        columns = [
            nothing if place in bound.unread else values[column].astype(kind)
            for place, column in enumerate(bound.columns)
        ]
        made[bound.tensor.name] = columns[0] if len(bound.tensor.shape) == 1 else np.stack(columns, axis=1)
    return made


def _scalars(form: ScalarForm, values: Values) -> Values:
    """What a SELECT gives: no missing value reaches the form, but a 0 that says that one is."""
    feeds = {}
    for column in form.columns:
        kind = column_type_of_onnx(column.dtype, tensor=column.name).numpy
        value = values[column.column].astype(kind).reshape(-1, 1)
        if column.there is not None:
            missing = np.isnan(value)
            value = np.where(missing, kind.type(0), value) if kind is not None else value
            feeds[column.there] = (~missing).astype(kind)
        feeds[column.name] = value
    return feeds


def _predictions(session: Any, form: ScalarForm, feeds: Values) -> list[np.ndarray[Any, Any]] | None:
    """`[1]` per prediction; NaN where the form says that it is no number."""
    asked = [(output.name, output.is_number) for output in form.outputs]
    names = [name for pair in asked for name in pair if name is not None]
    answers = _answers(session, names, feeds)
    if answers is None:
        return None
    given = dict(zip(names, (answer.reshape(1) for answer in answers), strict=True))
    return [_number(given[name], None if flag is None else given[flag]) for name, flag in asked]


def _number(value: np.ndarray[Any, Any], flag: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    if value.dtype.kind != "f":
        return value
    return np.where(np.isfinite(value) if flag is None else flag == 1, value, np.nan)


def _answers(session: Any, names: Sequence[str], feeds: Values) -> list[np.ndarray[Any, Any]] | None:
    """None where the model refuses the row: an unknown category, an index out of range."""
    try:
        return [np.asarray(answer) for answer in run(session, names, feeds)]
    except DataError:
        return None
