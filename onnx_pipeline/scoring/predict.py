"""From staged features to staged predictions, through an engine."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.arrow import finite_or_null
from onnx_pipeline.base.errors import KeyColumnError, StagingError
from onnx_pipeline.engines.base import StreamEngine
from onnx_pipeline.scoring.plan import ScoringPlan, schema_facts
from onnx_pipeline.scoring.progress import Progress, overlapped
from onnx_pipeline.scoring.refusals import Watch
from onnx_pipeline.scoring.staging import Staged, Staging
from onnx_pipeline.scoring.statistics import ColumnStatistics, summaries_to_json
from onnx_pipeline.scoring.verdicts import Reference, distribution, missing_predictions

__all__ = ["PredictedSlice", "SourceFacts", "judge", "predict", "refuse_nulls", "stage"]


@dataclass(frozen=True)
class PredictedSlice:
    """What one partition's predictions came to."""

    partition_key: str
    rows: int
    batches: int
    bytes: int
    seconds: float
    statistics: dict[str, ColumnStatistics]
    """By output column."""
    engine: Mapping[str, Any]
    """What the engine tells about it."""

    @property
    def missing(self) -> dict[str, int]:
        """NULL, NaN and infinite predictions by output column, where there are any."""
        return {name: column.missing for name, column in self.statistics.items() if column.missing}


def predict(
    plan: ScoringPlan,
    engine: StreamEngine[Any],
    staging: Staging,
    partition_key: str,
    *,
    say: Callable[[str], None],
    reference: Reference | None = None,
    watch: Watch | None = None,
) -> PredictedSlice:
    """Score one staged slice, and judge it before it is staged; `reference` is what its distribution is compared with.

    Raises PredictionError where a blocking check fails, NullFeatureError for a NULL that the model has no form for,
    KeyColumnError for a NULL key: then nothing is staged.
    """
    started = time.monotonic()
    with staging.open(plan.spec.scoring, "features", partition_key) as (features, reader):
        _check(plan, features, partition_key)
        read = SourceFacts(**{name: features.facts[name] for name in ("rows", "changed", "keys_ascend", "seconds")})
        with closing(_scored(plan, engine, reader)) as scored:
            return stage(
                plan, scored, read, staging, partition_key,
                facts=engine.facts, started=started, say=say, reference=reference, watch=watch,
            )  # fmt: skip


@dataclass(frozen=True)
class SourceFacts:
    """What is known of the rows that a slice's predictions were made of."""

    rows: int
    changed: str | None
    """The greatest `changed`, as the log keeps it."""
    keys_ascend: bool = False
    """Whether the keys were seen to be strictly ascending."""
    seconds: float = 0.0
    """What reading them took."""


def stage(
    plan: ScoringPlan,
    scored: Iterable[pa.RecordBatch],
    read: SourceFacts,
    staging: Staging,
    partition_key: str,
    *,
    facts: Callable[[], Mapping[str, Any]],
    started: float,
    say: Callable[[str], None],
    reference: Reference | None = None,
    watch: Watch | None = None,
) -> PredictedSlice:
    """Stage batches of predictions, in the schema of the plan, once they are judged.

    `facts` is asked at the end for what scored them, `started` is the monotonic time at which that began. Raises what
    `predict` raises of predictions.
    """
    scoring = plan.spec.scoring
    statistics = {output.name: ColumnStatistics() for output in plan.outputs}
    rows = batches = 0
    as_null = plan.spec.checks.nan_predictions == "allow"
    progress = Progress(f"{scoring}: scoring {partition_key}", say, total=read.rows)
    with staging.writer(scoring, "predictions", partition_key, plan.predictions_schema) as writer:
        for batch in scored:
            for name, column in statistics.items():
                column.update(batch.column(name))
            writer.write(_without_nan(plan, batch) if as_null else batch)
            rows += batch.num_rows
            batches += 1
            progress.add(batch.num_rows)
        seconds = time.monotonic() - started
        predicted = PredictedSlice(partition_key, rows, batches, 0, seconds, statistics, facts())
        judge(plan, predicted, reference, watch or Watch())
        summaries = {name: column.summary() for name, column in statistics.items()}
        staged = writer.commit(
            {
                "rows": rows,
                "model_sha256": plan.model.sha256,
                "source_rows": read.rows,
                "source_changed": read.changed,
                "keys_ascend": read.keys_ascend,
                "seconds": seconds + read.seconds,
                "statistics": summaries_to_json(summaries),
                "schema": schema_facts(plan.predictions_schema),
                **plan.origin,
            }
        )
    return replace(predicted, bytes=staged.facts["bytes"])


def judge(plan: ScoringPlan, piece: PredictedSlice, reference: Reference | None, watch: Watch) -> None:
    """Show what is decided about a slice's predictions; raise PredictionError where they must not be staged."""
    verdicts = (
        missing_predictions(plan.spec, piece.partition_key, piece.rows, piece.missing),
        distribution(plan.spec, piece.partition_key, piece.statistics, reference),
    )
    for verdict in verdicts:
        watch.show(verdict)
        verdict.enforce()


def _check(plan: ScoringPlan, features: Staged, partition_key: str) -> None:
    scoring = plan.spec.scoring
    if not plan.made(features.facts, plan.features_schema):
        raise StagingError(
            f"{scoring}: the staged features of partition {partition_key!r} were made for another model or spec. "
            f"Materialize features of {scoring} for that partition together with this asset."
        )
    facts = features.facts
    refuse_nulls(plan, partition_key, facts["rows"], facts["key_nulls"], facts["null_counts"])


def refuse_nulls(
    plan: ScoringPlan, partition_key: str, rows: int, key_nulls: Mapping[str, int], null_counts: Mapping[str, int]
) -> None:
    """Raise KeyColumnError for a NULL key, and NullFeatureError for a NULL that the model has no form for."""
    for name, count in key_nulls.items():
        if count:
            raise KeyColumnError(
                f"{plan.spec.scoring}: key column {name!r} is NULL in {count} of {rows} rows of partition "
                f"{partition_key!r}, so their predictions could not be told apart. Nothing was scored. Leave them out "
                "in a `query`, or choose another `key`."
            )
    plan.model.check_nulls(plan.binding, null_counts, plan.nulls, plan.outputs)


def _scored(
    plan: ScoringPlan, engine: StreamEngine[Any], reader: pa.RecordBatchReader
) -> Generator[pa.RecordBatch, None, None]:
    width = len(plan.key)
    read = overlapped(reader)
    scored = overlapped(engine.score(read), cancel=engine.cancel)
    with closing(read), closing(scored):
        for batch, outputs in scored:
            yield pa.RecordBatch.from_arrays([*batch.columns[:width], *outputs], schema=plan.predictions_schema)


def _without_nan(plan: ScoringPlan, batch: pa.RecordBatch) -> pa.RecordBatch:
    width = len(plan.key)
    outputs = map(finite_or_null, batch.columns[width:])
    return pa.RecordBatch.from_arrays([*batch.columns[:width], *outputs], schema=batch.schema)
