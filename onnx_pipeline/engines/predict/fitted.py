"""A task in the form that PREDICT takes: the model as scalars, proven, and what may stand in for NULL in T-SQL."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from onnx_pipeline.base.errors import UnsupportedModelError
from onnx_pipeline.base.rules import is_float
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.engines.base import Task
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.null_policy import StandIn, guarded_columns, stand_ins
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.scalar_form import ScalarForm, scalar_form
from onnx_pipeline.models.scalar_proof import prove
from onnx_pipeline.models.signature import Signature
from onnx_pipeline.pools.synapse.predict import TEXT_LENGTH

__all__ = ["MOST_COLUMNS", "Fitted", "fitted", "too_many"]

MOST_COLUMNS = 1024
"""Of a table: https://learn.microsoft.com/azure/synapse-analytics/sql-data-warehouse/sql-data-warehouse-service-capacity-limits"""
_KEPT = 4
"""Forms: those that a run's steps ask for one after the other."""


@dataclass(frozen=True)
class Fitted:
    """A model's form, proven to answer as the model does."""

    form: ScalarForm
    name: str
    """What tells it in the models table from other forms of the same model: for other columns or predictions, say."""
    proven: int
    """Made-up rows that got the same answers."""
    stand_ins: Mapping[str, StandIn]
    """By column, what takes the place of NULL, in the column's dtype. None of them is NaN."""


@dataclass(frozen=True)
class _Asked:
    """All that decides the form."""

    sha256: str
    signature: Signature
    binding: Binding
    outputs: Sequence[OutputColumn]
    may_miss: frozenset[str]
    normalised: bytes = field(compare=False, repr=False)
    options: RuntimeOptions = field(compare=False, repr=False)


def fitted(task: Task, model: OnnxModel) -> Fitted:
    """The task's form. Raises UnsupportedModelError where it has none, or answers otherwise than the model."""
    if model.fixed_batch not in (None, 1):
        raise UnsupportedModelError(f"it takes {model.fixed_batch} rows a call, and PREDICT gives it one")
    named = _sql_stand_ins(stand_ins(task.binding, task.nulls), task.binding)
    _refuse_texts(task, model)
    guarded = guarded_columns(task.binding, task.nulls, model.unsafe_nulls, model.labelled(task.outputs))
    may_miss = frozenset(
        column for column, dtype in task.binding.columns.items()
        if is_float(dtype) and column not in named and column not in guarded
    )  # fmt: skip
    scalars = len(task.binding.columns) + len(may_miss)
    if scalars > MOST_COLUMNS:
        raise UnsupportedModelError(too_many(scalars))
    form, proven = _form(
        _Asked(
            model.sha256,
            model.signature,
            task.binding,
            tuple(task.outputs),
            may_miss,
            model.normalised,
            model.options.on_cpu(),
        )
    )
    name = f"scalars {hashlib.sha256(form.data).hexdigest()[:32]}"
    return Fitted(form, name, proven, named)


@lru_cache(maxsize=_KEPT)
def _form(asked: _Asked) -> tuple[ScalarForm, int]:
    form = scalar_form(
        asked.normalised, asked.signature, asked.binding, asked.outputs, sha256=asked.sha256, may_miss=asked.may_miss
    )
    return form, prove(form, asked.normalised, asked.binding, asked.outputs, asked.options)


def _sql_stand_ins(named: Mapping[str, StandIn], binding: Binding) -> dict[str, StandIn]:
    """Those that are no NaN, as the dtype of their column holds them."""
    found: dict[str, StandIn] = {}
    for column, value in named.items():
        dtype = binding.columns[column]
        if isinstance(value, str) and (not value.isascii() or len(value) > TEXT_LENGTH):
            raise UnsupportedModelError(
                f"nulls puts {value!r} in place of NULL in column {column!r}, and PREDICT gets texts of up to "
                f"{TEXT_LENGTH:,} ASCII letters"
            )
        made = _rounded(value, dtype, column) if isinstance(value, float) else value
        if isinstance(made, float) and math.isinf(made):
            raise UnsupportedModelError(
                f"nulls puts {value!r} in place of NULL in column {column!r}, and T-SQL has no infinity"
            )
        if made == made:  # noqa: PLR0124 - NaN is none: the model makes it of NULL by itself
            found[column] = made
    return found


def _rounded(value: float, dtype: str, column: str) -> float:
    kind = column_type_of_onnx(dtype, tensor=column).numpy
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(kind))


def too_many(columns: int) -> str:
    """Why so many columns are too many, and what would make them fewer."""
    return (
        f"PREDICT would read {columns:,} columns, and a table of the pool has at most {MOST_COLUMNS:,} (a stand-in in "
        "`nulls` spares one for each column of floats)"
    )


def _refuse_texts(task: Task, model: OnnxModel) -> None:
    """A text that comes out is one of the model's own or one that went in, and these are ASCII."""
    from onnx_pipeline.models.protobuf import parse, texts

    dtypes = {output.name: output.dtype for output in model.signature.outputs}
    if not any(dtypes[column.output] == "string" for column in task.outputs):
        return
    for text in texts(parse(model.normalised, source="the model")):
        if not text.isascii() or len(text) > TEXT_LENGTH:
            raise UnsupportedModelError(
                f"it answers with texts and holds {text[:40]!r}, and of what PREDICT gives back only ASCII is certain"
            )
