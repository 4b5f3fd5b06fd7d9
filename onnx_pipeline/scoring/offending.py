"""The first row that a refusal is about, by its key: what a person looks for in the source.

Only a slice that was refused is gone through again. A model says that it refuses rows, and not which: of a batch that
fails, the first row is found by halving, and its column by putting one value after the other into a row that passes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.errors import (
    DataError,
    FeatureValueError,
    KeyColumnError,
    NullFeatureError,
    OnnxPipelineError,
    PredictionError,
)
from onnx_pipeline.base.instants import as_python
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.fitted import fitted
from onnx_pipeline.scoring.names import CHANGED
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["Batches", "in_source", "refused_row", "row_named", "value_refused"]

Batches = Callable[[], Iterable[pa.RecordBatch]]

_STATUS = re.compile(r"Status Message: (?P<said>.*?)\.*(?: A value lies outside .*)?$", re.DOTALL)


def row_named(plan: ScoringPlan, batch: pa.RecordBatch, row: int) -> str:
    """`the row with id = 7`, of a batch that begins with the key columns."""
    keys = (f"{name} = {as_python(batch.column(place)[row])!r}" for place, name in enumerate(plan.key))
    return f"the row with {' and '.join(keys)}"


def value_refused(
    plan: ScoringPlan, partition_key: str | None, batch: pa.RecordBatch, error: FeatureValueError
) -> FeatureValueError:
    """The error of a value with its scoring, partition and key; `batch` has the key columns of the error's row."""
    said = (
        f"{_where(plan, partition_key)}: column {error.column!r} of {row_named(plan, batch, error.row)} {error.reason}"
    )
    return FeatureValueError(error.column, error.row, error.reason, told=said)


def in_source(plan: ScoringPlan, pool: Pool, partition_key: str) -> Iterator[pa.RecordBatch]:
    """A slice's features as the source holds them now, for an engine that scores where they lie."""
    with pool.read(plan.statement(pool, [partition_key], marked=False)) as reader:
        for found in reader:
            batch = found.drop_columns([CHANGED]) if CHANGED in found.schema.names else found
            try:
                yield fitted(plan, batch)
            except FeatureValueError as error:
                raise value_refused(plan, partition_key, batch, error) from error


def refused_row(
    plan: ScoringPlan, partition_key: str | None, error: OnnxPipelineError, batches: Batches
) -> OnnxPipelineError:
    """What was refused, with scoring, partition, column, value and key of the first row, as far as that is found.

    `error` itself where it is about no single row, or where no row is refused by the model alone. `partition_key` is
    None where rows of several are at hand.
    """
    if isinstance(error, KeyColumnError | PredictionError):
        return error
    try:
        found = _found(plan, partition_key, error, batches)
    except FeatureValueError as value:
        return value
    except OnnxPipelineError:
        # The slice was refused for what `error` says, whatever becomes of the search.
        found = None
    return found or _within(plan, partition_key, error)


def _within(plan: ScoringPlan, partition_key: str | None, error: OnnxPipelineError) -> OnnxPipelineError:
    """The error with scoring and partition, where it is a refusal that does not say them itself."""
    where = _where(plan, partition_key)
    if not isinstance(error, DataError) or plan.spec.scoring in str(error):
        return error
    if isinstance(error, FeatureValueError):
        told = f"{where}: column {error.column!r} {error.reason}"
        return FeatureValueError(error.column, error.row, error.reason, told=told)
    return type(error)(f"{where}: {error}")


def _found(
    plan: ScoringPlan, partition_key: str | None, error: OnnxPipelineError, batches: Batches
) -> OnnxPipelineError | None:
    where = _where(plan, partition_key)
    if isinstance(error, NullFeatureError):
        named = _first_null(plan, str(error), batches())
        return NullFeatureError(f"{where}: {error}. The first such row is {named}.") if named is not None else None
    found = _first_refused(plan, batches())
    if found is None:
        return None
    batch, row, column, said = found
    # A model that is exported well says in its message what it looked for.
    status = _STATUS.search(said)
    said = status["said"] if status is not None else said
    if column is None:
        return DataError(
            f"{where}: the model refuses {row_named(plan, batch, row)}: {said}. A value lies outside what the model "
            "was trained on or can index; filter or repair such rows in the source query"
        )
    source = plan.features[column]
    value = as_python(batch.column(column)[row])
    reason = f"holds {value!r}, which the model refuses ({said})"
    return value_refused(plan, partition_key, batch, FeatureValueError(source, row, reason))


def _where(plan: ScoringPlan, partition_key: str | None) -> str:
    return plan.spec.scoring if partition_key is None else f"{plan.spec.scoring}, partition {partition_key!r}"


def _first_null(plan: ScoringPlan, said: str, batches: Iterable[pa.RecordBatch]) -> str | None:
    """The first row that lacks a value of one of the columns that an error names."""
    columns = [name for name in plan.binding.columns if f"{name!r}" in said or f"{name} (" in said]
    for batch in batches:
        rows = [row for name in columns if (row := _first_missing(batch.column(name))) is not None]
        if rows:
            return row_named(plan, batch, min(rows))
    return None


def _first_missing(column: pa.Array) -> int | None:
    if not column.null_count:
        return None
    place: int = column.is_null().index(True).as_py()
    return place


def _first_refused(
    plan: ScoringPlan, batches: Iterable[pa.RecordBatch]
) -> tuple[pa.RecordBatch, int, str | None, str] | None:
    model = plan.model
    if not isinstance(model, OnnxModel):
        return None
    options = RuntimeOptions()

    def refusal(batch: pa.RecordBatch) -> str | None:
        """Why the model refuses some row of a batch; None where it takes all."""
        try:
            for _ in model.stream([batch], plan.binding, plan.outputs, nulls=plan.nulls, options=options):
                pass
        except NullFeatureError:
            raise
        except DataError as error:
            return str(error)
        return None

    passing: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if refusal(batch) is None:
            passing = batch.slice(0, 1)
            continue
        row = _first(batch, refusal)
        if row:
            passing = batch.slice(0, 1)
        alone = batch.slice(row, 1)
        said = refusal(alone) or refusal(batch) or ""
        return batch, row, _column(plan.binding.columns, alone, passing or _passing(batch, row, refusal), refusal), said
    return None


def _first(batch: pa.RecordBatch, refusal: Callable[[pa.RecordBatch], str | None]) -> int:
    """The first row that makes a batch fail, by halving: as many rows again as it has are scored twice."""
    passes, fails = 0, batch.num_rows
    while fails - passes > 1:
        middle = (passes + fails) // 2
        if refusal(batch.slice(passes, middle - passes)) is None:
            passes = middle
        else:
            fails = middle
    return passes


_TRIED = 100
"""Rows behind the first refused one of which one may pass."""


def _passing(batch: pa.RecordBatch, row: int, refusal: Callable[[pa.RecordBatch], str | None]) -> pa.RecordBatch | None:
    for place in range(row + 1, min(batch.num_rows, row + 1 + _TRIED)):
        if refusal(batch.slice(place, 1)) is None:
            return batch.slice(place, 1)
    return None


def _column(
    names: Iterable[str],
    alone: pa.RecordBatch,
    passing: pa.RecordBatch | None,
    refusal: Callable[[pa.RecordBatch], str | None],
) -> str | None:
    """The column whose value alone makes a passing row fail; the only one there is, in any case."""
    columns: Sequence[str] = list(names)
    if len(columns) == 1:
        return columns[0]
    if passing is None:
        return None
    for name in columns:
        place = passing.schema.get_field_index(name)
        arrays: list[Any] = [
            alone.column(place) if each == place else passing.column(each) for each in range(passing.num_columns)
        ]
        if refusal(pa.RecordBatch.from_arrays(arrays, schema=passing.schema)) is not None:
            return name
    return None
