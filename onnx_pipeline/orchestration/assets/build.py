"""A scoring's four assets, from four steps."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import OnnxPipelineError, SpecError
from onnx_pipeline.orchestration.assets.features import FEATURES
from onnx_pipeline.orchestration.assets.model import MODEL
from onnx_pipeline.orchestration.assets.pool_predictions import POOL_PREDICTIONS
from onnx_pipeline.orchestration.assets.predictions import PREDICTIONS
from onnx_pipeline.orchestration.assets.step import Events, Resources, Step, Work, running
from onnx_pipeline.orchestration.checks import check_specs
from onnx_pipeline.orchestration.fallback import ScoringAsset
from onnx_pipeline.orchestration.names import INTO_TAG, SCORING_TAG, SIDE_TABLE, asset_key
from onnx_pipeline.orchestration.resources import concurrency_pool, pool_url, scoring_resources
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.queries import source_text
from onnx_pipeline.scoring.repartition import side_of
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["STEPS", "asset_spec", "build_assets"]

STEPS = (MODEL, FEATURES, PREDICTIONS, POOL_PREDICTIONS)

_RESOURCES = set(scoring_resources())

_DECIDE_NO_ROW = {"directory", "schedule", "fresh_by", "checks", "group", "rescore", "partitions_per_run"}

Execute = Callable[[Work], Events]


def build_assets(
    spec: ScoringSpec,
    *,
    spec_of: Callable[[ScoringSpec, Step], dg.AssetSpec] | None = None,
    execute: Execute = running,
) -> list[dg.AssetsDefinition]:
    """The assets of one scoring; a component may say what each looks like, and do more than its work."""
    return [_asset(step, spec, _checked(spec, step, (spec_of or asset_spec)(spec, step)), execute) for step in STEPS]


def asset_spec(spec: ScoringSpec, step: Step) -> dg.AssetSpec:
    """What Dagster is told of an asset before it is made."""
    return dg.AssetSpec(
        asset_key(spec.scoring, step.name),
        deps=step.deps(spec),
        description=step.describe(spec),
        metadata=step.metadata(spec),
        group_name=spec.group or spec.scoring,
        code_version=_code_version(spec),
        tags={SCORING_TAG: spec.scoring},
        kinds=set(step.kinds(spec)),
        partitions_def=_partitions_of(spec, step),
    )


def _partitions_of(spec: ScoringSpec, step: Step) -> dg.PartitionsDefinition[str] | None:
    return partitioning(spec).definition if step.partitioned else None


def _of_run(spec: ScoringSpec, tags: Mapping[str, str]) -> ScoringSpec:
    """The scoring as a run does it: `repartition` has it fill a table beside its target."""
    into = tags.get(INTO_TAG)
    if into not in (None, SIDE_TABLE):
        raise dg.Failure(
            description=f"the tag {INTO_TAG} may say {SIDE_TABLE!r}, and says {into!r}", allow_retries=False
        )
    return spec if into is None else side_of(spec)


def _checked(spec: ScoringSpec, step: Step, of_component: dg.AssetSpec) -> dg.AssetSpec:
    """What a component says of an asset, as far as that is its to say."""
    key = asset_key(spec.scoring, step.name)
    for name, ours in (("key", key), ("partitions_def", _partitions_of(spec, step))):
        if getattr(of_component, name) != ours:
            raise SpecError(
                f"get_asset_spec changes the {name} of {key.to_user_string()}, by which jobs and the scoring log "
                "find it. Change `name` or `partitions` of the scoring instead"
            )
    if of_component.tags.get(SCORING_TAG) == spec.scoring:
        return of_component
    return of_component.merge_attributes(tags={SCORING_TAG: spec.scoring})


def _code_version(spec: ScoringSpec) -> str:
    """Changes with whatever is written that has to do with the rows, so that a changed spec shows as unsynced.

    That is Dagster's advice. What is scored again goes by `scoring.settings`, whose values are resolved against model
    and source; Dagster asks for this whenever it loads definitions, where neither model nor pool may be there, so that
    two spellings of one meaning differ here and not there. What is left at its default counts for nothing, else each
    release with another attribute would show everything as unsynced.
    """
    attributes = spec.model_dump_json(exclude=_DECIDE_NO_ROW, exclude_defaults=True)
    text = ""
    if spec.source_spec.file is not None:
        with suppress(SpecError):  # a run says what is wrong with the file
            text = source_text(spec)
    told = json.dumps([attributes, spec.engine.kind, spec.checks.nan_predictions, text])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _asset(step: Step, spec: ScoringSpec, of_dagster: dg.AssetSpec, execute: Execute) -> dg.AssetsDefinition:
    options: dict[str, Any] = {}
    if of_dagster.partitions_def is not None:
        options["backfill_policy"] = dg.BackfillPolicy.multi_run(spec.partitions_per_run)
    if step.holds_pool(spec):
        options["pool"] = concurrency_pool(pool_url())

    def asset(context: dg.AssetExecutionContext) -> Events:
        of_run = context.resources
        try:
            resources = Resources(
                of_run.pool.open(), of_run.artifacts.open(), of_run.staging.open(), of_run.onnx_runtime.options()
            )
        except OnnxPipelineError as error:
            raise dg.Failure(description=f"{type(error).__name__}: {error}", allow_retries=False) from error
        yield from execute(Work(context, _of_run(spec, context.run.tags), step, resources))

    # Dagster asks for it twenty times an asset, and makes it anew each time unless it is written down.
    asset.__signature__ = inspect.signature(asset)  # type: ignore[attr-defined]
    made = dg.multi_asset(
        name=f"{spec.scoring}__{step.name}",
        specs=[of_dagster],
        check_specs=check_specs(spec, step.name),
        # Not by annotated arguments: Dagster goes through those of each asset eight times.
        required_resource_keys=_RESOURCES,
        **options,
    )(asset)
    return ScoringAsset(**made.get_attributes_dict())
