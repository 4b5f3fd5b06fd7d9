"""From the source to predictions without a row passing through this process: for engines that score in the pool.

`survey` takes the place of `extract`, and `land` that of `predict`: the same facts, the same refusals.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import DataError, FeatureValueError, SpecError, StagingError
from onnx_pipeline.base.instants import as_python
from onnx_pipeline.base.types import sqlalchemy_type
from onnx_pipeline.engines.base import PoolEngine
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.landing import LandedSlice, Landing
from onnx_pipeline.pools.rows import StoredRows, StoredTable
from onnx_pipeline.scoring.bins import binned, bins_of
from onnx_pipeline.scoring.casts import misfit_error
from onnx_pipeline.scoring.extract import ExtractedSlice
from onnx_pipeline.scoring.fitted import cut_key
from onnx_pipeline.scoring.marks import MarkedFacts, Marks
from onnx_pipeline.scoring.offending import row_named
from onnx_pipeline.scoring.plan import ScoringPlan, schema_facts
from onnx_pipeline.scoring.predict import PredictedSlice, judge, refuse_nulls
from onnx_pipeline.scoring.refusals import Watch, withdraw
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.scoring.statistics import ColumnStatistics, summaries_to_json
from onnx_pipeline.scoring.verdicts import Reference, null_rate

__all__ = ["land", "survey"]


def survey(
    plan: ScoringPlan, pool: Pool, staging: Staging, keys: Sequence[str], *, watch: Watch | None = None
) -> Iterator[ExtractedSlice]:
    """Record the SELECT of each slice and what it finds now; no row is moved.

    A slice with too many NULLs, or with a value that the model's dtype cannot hold, is not recorded, and what staging
    held of it is withdrawn; the others go on. Without a `watch`, the first refusal is raised at the end.
    """
    watching = watch or Watch()
    marks = Marks(plan, pool)
    for chunk in plan.partitioning.chunks(keys):
        started = time.monotonic()
        facts = marks.facts_in_source(chunk)
        seconds = (time.monotonic() - started) / len(chunk)
        for key, found in zip(chunk, facts, strict=True):
            try:
                piece = _surveyed(marks, staging, key, found, seconds, watching)
            except DataError as error:
                withdraw(staging, pool, plan.spec.scoring, "features", key, error, watching)
                continue
            yield piece
    if watch is None:
        watching.end()


def _surveyed(
    marks: Marks, staging: Staging, partition_key: str, found: MarkedFacts, seconds: float, watch: Watch
) -> ExtractedSlice:
    plan = marks.plan
    _refuse_misfits(plan, marks.pool, partition_key, found)
    _refuse_cut_keys(plan, marks.pool, partition_key)
    verdict = null_rate(plan.spec, partition_key, found.rows, found.null_counts)
    watch.show(verdict)
    verdict.enforce()
    facts = {
        "rows": found.rows,
        "changed": found.changed_text,
        "null_counts": found.null_counts,
        "key_nulls": found.key_nulls,
        "keys_ascend": False,
        "seconds": seconds,
        "schema": schema_facts(plan.features_schema),
        **plan.origin,
        "sql": marks.pool.render(marks.features(partition_key)),
    }
    staging.record(plan.spec.scoring, "features", partition_key, facts)
    return ExtractedSlice(partition_key, found.rows, 0, seconds, found.null_counts)


def land(
    marks: Marks,
    engine: PoolEngine[Any],
    staging: Staging,
    partition_key: str,
    *,
    say: Callable[[str], None],
    reference: Reference | None = None,
    watch: Watch | None = None,
) -> PredictedSlice:
    """Score one slice where it lies, and judge what landed before it is staged.

    Raises PredictionError where a blocking check fails, NullFeatureError for a NULL that the model has no form for,
    FeatureValueError for another value without one, KeyColumnError for a NULL key: then what landed is removed, and
    nothing is staged. What is judged is what landed: a row that changed since the features were looked at counts as it
    was scored.
    """
    started = time.monotonic()
    plan, pool = marks.plan, marks.pool
    scoring = plan.spec.scoring
    surveyed = staging.find(scoring, "features", partition_key)
    if not plan.made(surveyed.facts, plan.features_schema):
        raise StagingError(
            f"{scoring}: the features of partition {partition_key!r} were looked at for another model or spec. "
            f"Materialize features of {scoring} for that partition together with this asset."
        )
    piece = LandedSlice(
        target=plan.target,
        partition_key=partition_key,
        features=marks.features(partition_key),
        marks=marks.schema,
        pool=pool.kind,
        folder=staging.folder(scoring, "predictions", partition_key),
        scoring=scoring,
    )
    with pool.landing(piece) as landing:
        say(f"{scoring}: scoring {partition_key} in {pool.display_name}")
        try:
            engine.land(landing)
        except FeatureValueError as error:
            name = plan.features.get(error.column, error.column)
            raise FeatureValueError(name, error.row, error.reason) from error
        if not landing.filled:
            raise SpecError(
                f"{scoring}: the engine `{plan.spec.engine.kind}` put nothing into the landing of partition "
                f"{partition_key!r}. Its `land` has to call `landing.insert` once."
            )
        (found,) = marks.read(landing.fetch(marks.counted(landing.rows)))
        _refuse_misfits(plan, pool, partition_key, found)
        refuse_nulls(plan, partition_key, found.rows, found.key_nulls, found.null_counts)
        null_rate(plan.spec, partition_key, found.rows, found.null_counts).enforce()
        statistics = {field.name: _statistics(landing, field, found.rows) for field in piece.outputs}
        stored = landing.stored(found.rows)
        seconds = time.monotonic() - started
        predicted = PredictedSlice(partition_key, found.rows, 1, stored.bytes, seconds, statistics, engine.facts())
        if predicted.missing:
            predicted = replace(predicted, first_missing=_first_missing(plan, pool, landing, piece.outputs))
        judge(plan, predicted, reference, watch or Watch())
        facts = {
            "rows": found.rows,
            "model_sha256": plan.model.sha256,
            "source_rows": found.rows,
            "source_changed": found.changed_text,
            "keys_ascend": False,
            "seconds": seconds,
            "statistics": summaries_to_json({name: column.summary() for name, column in statistics.items()}),
            "schema": schema_facts(plan.predictions_schema),
            **plan.origin,
        }
        replaced = _record(staging, plan, partition_key, facts, stored)
        landing.keep()
    if replaced is not None:
        pool.discard(replaced)
    return predicted


def _refuse_misfits(plan: ScoringPlan, pool: Pool, partition_key: str, found: MarkedFacts) -> None:
    for staged, count in found.misfits.items():
        raise misfit_error(plan, pool, partition_key, staged, count)


def _refuse_cut_keys(plan: ScoringPlan, pool: Pool, partition_key: str) -> None:
    """What an engine of the pool would round away, and with it what tells two rows apart."""
    for field, column in zip(plan.key_schema, plan.key_columns(), strict=True):
        arrow = plan.source.schema.field(field.name).type
        if not pa.types.is_timestamp(arrow) or arrow.unit != "ns" or field.type.unit == "ns":
            continue
        cut = sa.cast(column, sqlalchemy_type(field.type, column=field.name)) != column
        statement = sa.select(column.label("value")).select_from(plan.source.selectable).where(cut)
        predicate = plan.partitioning.predicate(plan.source, pool, [partition_key])
        found = pool.fetch((statement if predicate is None else statement.where(predicate)).limit(1))
        if found.num_rows:
            raise cut_key(field, arrow, str(as_python(found["value"][0])))


def _first_missing(plan: ScoringPlan, pool: Pool, landing: Landing, outputs: Iterable[pa.Field]) -> str | None:
    """A row that landed without a prediction, by its key."""
    landed = landing.rows
    missing = [pool.is_missing(landed.c[output.name], output.type) for output in outputs]
    keys = [landed.c[name] for name in plan.key]
    found = landing.fetch(sa.select(*keys).select_from(landed).where(sa.or_(*missing)).order_by(*keys).limit(1))
    return row_named(plan, found.to_batches()[0], 0) if found.num_rows else None


def _record(
    staging: Staging, plan: ScoringPlan, partition_key: str, facts: dict[str, Any], stored: StoredRows
) -> str | None:
    """Make the landing the slice's current one; the table that was it before, which nobody names any more."""
    scoring = plan.spec.scoring
    if isinstance(stored, StoredTable):
        facts = {**facts, "measures": stored.measures, "bytes": stored.bytes}
        return staging.record(scoring, "predictions", partition_key, facts, table=stored.table)
    (file,) = stored.files
    return staging.record(scoring, "predictions", partition_key, {**facts, "bytes": stored.bytes}, file=file)


def _statistics(landing: Landing, field: pa.Field, rows: int) -> ColumnStatistics:
    """As `ColumnStatistics.update` would have counted the column."""
    landed = landing.rows
    column = landed.c[field.name]
    if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
        bins = bins_of(landing.fetch(binned(landed, field.name, field.type)))
        return ColumnStatistics.of_bins(rows, rows - sum(each.count for each in bins), bins)
    value, *more = landing.distinct(column)
    counted = sa.select(value.label("value"), sa.func.count().label("n")).select_from(landed)
    found = landing.fetch(counted.where(column.is_not(None)).group_by(value, *more))
    # Of a boolean, the texts that Arrow makes.
    texts = pa.array(found["value"].to_pylist(), field.type).cast(pa.string()).to_pylist()
    values: dict[str, int] = {}
    for text, count in zip(texts, found["n"].to_pylist(), strict=True):
        values[text] = values.get(text, 0) + int(count)
    return ColumnStatistics.of_values(rows, rows - sum(values.values()), values)
