"""The four assets of a scoring.

An asset does what its module in `scoring/` does and says how it went; it decides nothing else.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import OnnxPipelineError, SignatureError
from onnx_pipeline.engines import engine_of, open_stream
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.origins import FetchedModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.checks import CheckRecorder, check_specs
from onnx_pipeline.orchestration.resources import (
    ArtifactStoreResource,
    OnnxRuntimeResource,
    PoolResource,
    StagingResource,
    concurrency_pool,
    pool_url,
)
from onnx_pipeline.orchestration.run_history import unfinished_runs
from onnx_pipeline.orchestration.selection import requested_partitions
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools import Pool
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import PredictedSlice, predict
from onnx_pipeline.scoring.statistics import Summary, summaries_from_json
from onnx_pipeline.spec.engines.registry import engine_kinds, options_of
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["ASSETS", "SCORING_TAG", "SOURCE_METADATA", "build_assets", "pool_kind", "source_key"]

SCORING_TAG = "onnx_pipeline/scoring"
"""Asset tag that names the scoring that an asset belongs to."""

SOURCE_METADATA = "source"
"""Metadata of a features asset: the table that it reads, or `query`."""

ASSETS = ("model", "features", "predictions", "pool_predictions")

_RETRIES = 3
_FIRST_WAIT_SECONDS = 5.0
_PREVIEW_ROWS = 5

Events = Iterator[Any]
"""What a step emits: check evaluations, materializations, outputs."""


def source_key(spec: ScoringSpec) -> dg.AssetKey:
    """The external asset of the source: the table's own name, so that scorings of one table share it."""
    table = spec.source_spec.table
    parts = table.split(".") if table is not None else [spec.scoring, "source"]
    return dg.AssetKey([re.sub(r"\W", "_", part) for part in parts])


def build_assets(spec: ScoringSpec) -> list[dg.AssetsDefinition]:
    """The assets of one scoring."""
    return [_model(spec), _features(spec), _predictions(spec), _pool_predictions(spec)]


def pool_kind() -> str:
    """The kind of the configured pool, as the UI shows it on assets."""
    return pool_url().partition(":")[0].partition("+")[0]


def _code_version(spec: ScoringSpec) -> str:
    """Changes with every attribute of the scoring, so that a changed spec shows as unsynced."""
    attributes = spec.model_dump_json(exclude={"directory", "schedule", "checks", "group", "rescore"})
    return hashlib.sha256(attributes.encode()).hexdigest()[:12]


def _options(spec: ScoringSpec, asset: str, *, touches_pool: bool) -> dict[str, Any]:
    """What the decorators of all four have in common."""
    partitions = partitioning(spec).definition
    options: dict[str, Any] = {
        "key": dg.AssetKey([spec.scoring, asset]),
        "group_name": spec.group or spec.scoring,
        "code_version": _code_version(spec),
        "check_specs": check_specs(spec, asset),
        "tags": {SCORING_TAG: spec.scoring},
    }
    if asset != "model" and partitions is not None:
        options["partitions_def"] = partitions
        options["backfill_policy"] = dg.BackfillPolicy.multi_run(spec.partitions_per_run)
    if touches_pool:
        options["pool"] = concurrency_pool(pool_url())
    return options


@dataclass
class _Step:
    """One asset of one run at work."""

    context: dg.AssetExecutionContext
    spec: ScoringSpec
    asset: str
    recorder: CheckRecorder

    def __post_init__(self) -> None:
        self.partitioning = partitioning(self.spec)
        self.partitioned = self.partitioning.definition is not None and self.asset != "model"
        self.done: dict[str, Mapping[str, Any]] = {}

    def keys(self) -> Sequence[str]:
        return requested_partitions(self.context, self.spec.scoring, self.partitioning)

    def say(self, text: str) -> None:
        self.context.log.info(text)

    def finished(self, partition_key: str, metadata: Mapping[str, Any]) -> None:
        """One partition is done: what its materialization shows."""
        self.done[partition_key] = metadata

    def events(self, metadata: Mapping[str, Any], data_version: str | None = None) -> Events:
        """The step's materializations, one per partition, and its checks."""
        yield from self.recorder.evaluations
        if self.partitioned:
            for key, shown in self.done.items():
                self.context.add_asset_metadata(shown, partition_key=key)
        else:
            metadata = {**metadata, **next(iter(self.done.values()), {})}
        version = dg.DataVersion(data_version) if data_version is not None else None
        yield dg.MaterializeResult(metadata=metadata, data_version=version)
        for name in self.context.op_def.output_dict:
            if name != "result":
                # The evaluations were emitted above, with their partitions; Dagster also wants the outputs.
                yield dg.Output(None, output_name=name)

    def partial_events(self) -> Events:
        """What a failing step still has to tell: its checks, and the partitions that it did finish."""
        yield from self.recorder.evaluations
        if self.partitioned and self.asset == "pool_predictions":
            for key, shown in self.done.items():
                yield dg.AssetMaterialization(
                    asset_key=dg.AssetKey([self.spec.scoring, self.asset]), partition=key, metadata=shown
                )


def _run(context: dg.AssetExecutionContext, spec: ScoringSpec, asset: str, body: Callable[[_Step], Events]) -> Events:
    """Run an asset's body; our errors become failures that say what to do, retried only where that can help."""
    partitioned = partitioning(spec).definition is not None and asset != "model"
    step = _Step(context, spec, asset, CheckRecorder(spec, asset, partitioned))
    try:
        yield from body(step)
    except OnnxPipelineError as error:
        yield from step.partial_events()
        message = f"{type(error).__name__}: {error}"
        if error.transient and context.retry_number < _RETRIES:
            wait = _FIRST_WAIT_SECONDS * 2**context.retry_number * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            context.log.warning("%s Trying again in %.0f s.", message, wait)
            raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=wait) from error
        raise dg.Failure(description=message, allow_retries=False) from error


def _model(spec: ScoringSpec) -> dg.AssetsDefinition:
    options = _options(spec, "model", touches_pool=False)

    @dg.asset(
        **options,
        kinds={"onnx"},
        description=f"The model artifact at `{spec.onnx}`, checked, normalised and kept by its sha256."
        if spec.onnx is not None
        else f"The model that stays at `{spec.model_place}`, by its version and signature.",
    )
    def model(
        context: dg.AssetExecutionContext,
        pool: PoolResource,
        artifacts: ArtifactStoreResource,
        onnx_runtime: OnnxRuntimeResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        def body(step: _Step) -> Events:
            database, store = pool.open(), artifacts.open()
            found = model_origin(spec).fetch(store, onnx_runtime.options())
            with _signature_recorded(step):
                plan = ScoringPlan(spec, found.model, database.source(spec))
            database.register_model(spec.scoring, found.model.sha256, found.data, found.model.signature.to_json())
            found.adopt(spec.scoring, store)
            step.say(f"{spec.scoring}: model {found.model.sha256[:12]}, {len(found.data):,} bytes, {found.uri}")
            yield from step.events(_model_metadata(plan, found, database), data_version=found.model.sha256)

        yield from _run(context, spec, "model", body)

    return model


@contextmanager
def _signature_recorded(step: _Step) -> Iterator[None]:
    try:
        yield
    except SignatureError as error:
        step.recorder.signature(str(error))
        raise
    step.recorder.signature(None)


def _model_metadata(plan: ScoringPlan, found: FetchedModel, pool: Pool) -> dict[str, Any]:
    bound = [(staged, source, plan.binding.columns[staged]) for staged, source in plan.features.items()]
    model = found.model
    return {
        "sha256": model.sha256,
        "uri": found.uri,
        "signature": dg.MetadataValue.md(model.signature.markdown()),
        "features": dg.MetadataValue.md(show.markdown_table(("feature", "source column", "dtype"), bound)),
        **{name: _shown(value) for name, value in model.about.items()},
        "engines": dg.MetadataValue.md(show.markdown_table(("engine", "can run it"), _engines(model, pool))),
    }


def _shown(value: str | int | Sequence[str]) -> Any:
    """Text and numbers as they are, several sentences as a list."""
    if isinstance(value, (str, int)):
        return value
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in value) or "nothing")


def _engines(model: PlannedModel, pool: Pool) -> list[tuple[str, str]]:
    """What every engine says of the model."""
    rows = []
    for kind in engine_kinds():
        try:
            engine = engine_of(options_of(kind))
        except OnnxPipelineError as error:
            rows.append((kind, f"not here: {error}"))
            continue
        reasons = engine.unsupported(model, pool)
        told = "; ".join(f"{reason.why} ({reason.remedy})" for reason in reasons)
        rows.append(
            (kind, f"no: {told}" if reasons else ", ".join(["yes", *([engine.proviso] if engine.proviso else [])]))
        )
    return rows


def _of_run(context: dg.AssetExecutionContext, pool: PoolResource) -> Pool:
    return pool.open().for_run(context.run.run_id, lambda: unfinished_runs(context.instance))


def _plan(spec: ScoringSpec, pool: Pool, store: ArtifactStore) -> ScoringPlan:
    """The plan for the model that the model asset made current."""
    return ScoringPlan(spec, model_origin(spec).current(store), pool.source(spec))


def _features(spec: ScoringSpec) -> dg.AssetsDefinition:
    options = _options(spec, "features", touches_pool=True)

    @dg.asset(
        **options,
        metadata={SOURCE_METADATA: spec.source_spec.table or "query"},
        # The model decides which columns are read, and as what.
        deps=[source_key(spec), dg.AssetKey([spec.scoring, "model"])],
        kinds={pool_kind(), "arrow"},
        description=f"Key columns of `{spec.source_spec.table or 'the query'}` and the columns that the model reads, "
        "in the model's dtypes.",
    )
    def features(
        context: dg.AssetExecutionContext,
        pool: PoolResource,
        artifacts: ArtifactStoreResource,
        staging: StagingResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        def body(step: _Step) -> Events:
            keys = step.keys()
            database, stage = _of_run(context, pool), staging.open()
            stage.sweep()
            plan = _plan(spec, database, artifacts.open())
            for piece in extract(plan, database, stage, keys, say=step.say):
                step.finished(
                    piece.partition_key,
                    {
                        **_counts(step, piece.rows, piece.seconds),
                        "bytes": piece.bytes,
                        "null_rates": dg.MetadataValue.md(_null_rates(piece.null_counts, piece.rows)),
                    },
                )
                step.recorder.null_rate(piece)
                if not piece.rows:
                    step.say(f"{spec.scoring}: partition {piece.partition_key!r} has no rows")
            step.recorder.rows_outside(take_inventory(spec, database, plan.partitioning))
            first = next(plan.partitioning.chunks(keys))
            statement = database.render(plan.statement(database, first, marked=len(first) > 1))
            sources = {name: [name] for name in plan.key} | {name: [source] for name, source in plan.features.items()}
            yield from step.events(
                {
                    "sql": dg.MetadataValue.md(f"```sql\n{statement}\n```"),
                    "dagster/column_schema": show.column_schema(plan.features_schema),
                    "dagster/column_lineage": show.column_lineage(source_key(spec), sources),
                }
            )

        yield from _run(context, spec, "features", body)

    return features


def _counts(step: _Step, rows: int, seconds: float) -> dict[str, Any]:
    """Rows and speed, under the names that the UI knows."""
    return {
        "dagster/partition_row_count" if step.partitioned else "dagster/row_count": rows,
        "rows_per_second": round(rows / seconds) if seconds else 0,
        "seconds": round(seconds, 4),
    }


def _null_rates(counts: Mapping[str, int], rows: int) -> str:
    present = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1])
    if not present:
        return "no NULLs"
    return show.markdown_table(("feature", "NULL", "rate"), [(name, n, f"{n / rows:.2%}") for name, n in present])


def _predictions(spec: ScoringSpec) -> dg.AssetsDefinition:
    options = _options(spec, "predictions", touches_pool=False)
    features_key = dg.AssetKey([spec.scoring, "features"])

    @dg.asset(
        **options,
        deps=[features_key, dg.AssetKey([spec.scoring, "model"])],
        kinds={spec.engine.kind, "arrow"},
        description=f"Predictions of the model, by the engine `{spec.engine.kind}`, in staging.",
    )
    def predictions(
        context: dg.AssetExecutionContext,
        pool: PoolResource,
        artifacts: ArtifactStoreResource,
        staging: StagingResource,
        onnx_runtime: OnnxRuntimeResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        def body(step: _Step) -> Events:
            keys = step.keys()
            database, stage = pool.open(), staging.open()
            plan = _plan(spec, database, artifacts.open())
            before = {key: step.partitioning.previous(key) for key in keys}
            known = _logged_summaries(database, spec, set(before.values()) - {None})
            with closing(open_stream(spec.engine, plan.task, onnx_runtime.options(), step.say)) as engine:
                for key in keys:
                    previous = before[key]

                    def accept(piece: PredictedSlice, previous: str | None = previous) -> None:
                        step.recorder.missing_predictions(piece)
                        step.recorder.distribution(piece, previous, known.get(previous) if previous else None)

                    piece = predict(plan, engine, stage, key, accept=accept, say=step.say)
                    known[key] = {name: column.summary() for name, column in piece.statistics.items()}
                    step.finished(key, _predictions_metadata(step, piece))
            yield from step.events(
                {
                    "model_sha256": plan.model.sha256,
                    "dagster/column_schema": show.column_schema(plan.predictions_schema),
                    "dagster/column_lineage": show.column_lineage(
                        features_key,
                        {name: [name] for name in plan.key}
                        | {output.name: list(plan.features) for output in plan.outputs},
                    ),
                }
            )

        yield from _run(context, spec, "predictions", body)

    return predictions


def _logged_summaries(pool: Pool, spec: ScoringSpec, keys: set[Any]) -> dict[str, dict[str, Summary]]:
    log = pool.scoring_log(spec.scoring, sorted(keys)) if keys else {}
    return {key: summaries_from_json(row.statistics) for key, row in log.items() if row.rows}


def _predictions_metadata(step: _Step, piece: PredictedSlice) -> dict[str, Any]:
    shown = {
        **_counts(step, piece.rows, piece.seconds),
        "batches": piece.batches,
        "bytes": piece.bytes,
        **piece.engine,
        "statistics": show.statistics_table(piece.statistics),
    }
    for name, column in piece.statistics.items():
        picture = show.histogram(name, column)
        if picture is not None:
            shown[f"histogram_{name}"] = picture
    return shown


def _pool_predictions(spec: ScoringSpec) -> dg.AssetsDefinition:
    options = _options(spec, "pool_predictions", touches_pool=True)
    predictions_key = dg.AssetKey([spec.scoring, "predictions"])

    @dg.asset(
        **options,
        deps=[predictions_key],
        kinds={pool_kind(), "table"},
        metadata={"dagster/table_name": spec.target_table},
        description=f"Table `{spec.target_table}` of the pool: predictions with their provenance, "
        f"loaded by `{spec.load_mode}` in one transaction with the scoring log.",
    )
    def pool_predictions(
        context: dg.AssetExecutionContext,
        pool: PoolResource,
        artifacts: ArtifactStoreResource,
        staging: StagingResource,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        def body(step: _Step) -> Events:
            keys = step.keys()
            database = _of_run(context, pool)
            plan = _plan(spec, database, artifacts.open())
            loading = load(
                plan, database, staging.open(), keys, run_id=context.run.run_id, counted=step.recorder.row_count
            )
            for piece in loading:
                loaded = piece.loaded
                step.finished(
                    loaded.partition_key,
                    {
                        **_counts(step, piece.log.rows, loaded.seconds),
                        "rows_inserted": loaded.inserted,
                        "rows_updated": loaded.updated,
                        "rows_replaced": loaded.deleted,
                        "model_sha256": piece.log.model_sha256,
                    },
                )
            # Of a long range the last one only: each look costs a connection.
            rows = database.preview(spec.target_table, {"partition_key": keys[-1]}, _PREVIEW_ROWS)
            step.finished(keys[-1], {**step.done[keys[-1]], "preview": show.preview(rows)})
            lineage = {name: [name] for name in plan.target.staged_names}
            yield from step.events(
                {
                    "dagster/column_schema": show.column_schema(plan.target.schema, _PROVENANCE_DESCRIPTIONS),
                    "dagster/column_lineage": show.column_lineage(predictions_key, lineage),
                }
            )

        yield from _run(context, spec, "pool_predictions", body)

    return pool_predictions


_PROVENANCE_DESCRIPTIONS = {
    "partition_key": "The slice that the row belongs to.",
    "model_sha256": "The model that made the prediction.",
    "scored_at": "When, in UTC.",
    "run_id": "The Dagster run.",
}
