"""Jobs, schedules and sensors of the scorings. What they ask for carries a tag that says why."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from onnx_pipeline.assets import ASSETS
from onnx_pipeline.errors import OnnxPipelineError
from onnx_pipeline.partitions import partitioning
from onnx_pipeline.resources import ArtifactStoreResource, PoolResource
from onnx_pipeline.scoring.artifact import latest_sha256
from onnx_pipeline.scoring.pending import PendingSlice, Reason, contiguous, pending
from onnx_pipeline.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from onnx_pipeline.spec import ScoringSpec

__all__ = ["REASON_TAG", "build_automation", "requests", "scoring_keys", "tags_of"]

REASON_TAG = "onnx_pipeline/reason"
"""Why a run was asked for: `never scored`, `source changed`, `model changed`, or several of them."""
REQUESTED_BY_TAG = "onnx_pipeline/requested_by"

_ROWS_EVERY_SECONDS = 300
_MODEL_EVERY_SECONDS = 60


def scoring_keys(spec: ScoringSpec) -> list[dg.AssetKey]:
    """The four assets of a scoring."""
    return [dg.AssetKey([spec.scoring, asset]) for asset in ASSETS]


def build_automation(spec: ScoringSpec) -> dg.Definitions:
    """The job of a scoring, its schedule if the spec has one, and its two sensors."""
    job = dg.define_asset_job(
        spec.scoring,
        selection=dg.AssetSelection.assets(*scoring_keys(spec)),
        description=f"Score `{spec.source_spec.table or 'a query'}` into `{spec.target_table}`.",
    )
    schedules = [_schedule(spec, job)] if spec.schedule is not None else []
    return dg.Definitions(
        jobs=[job], schedules=schedules, sensors=[_new_rows_sensor(spec, job), _new_model_sensor(spec, job)]
    )


def tags_of(group: Sequence[PendingSlice], *, partitioned: bool) -> dict[str, str]:
    """Tags of a run over neighbouring slices."""
    tags = {REASON_TAG: ", ".join(sorted({piece.reason.value for piece in group}))}
    if not partitioned:
        return tags
    first, last = group[0].partition_key, group[-1].partition_key
    if first == last:
        return tags | {PARTITION_TAG: first}
    return tags | {RANGE_START_TAG: first, RANGE_END_TAG: last}


def requests(
    spec: ScoringSpec, slices: Sequence[PendingSlice], *, requested_by: str, tick: str | None = None
) -> Iterator[dg.RunRequest]:
    """Run requests for pending slices: neighbours together, at most `partitions_per_run` in each.

    The run key names what is pending, so that one state of the pool is asked for once, however often a sensor looks.
    """
    partitions = partitioning(spec)
    for group in contiguous(slices, partitions.keys(), most=spec.partitions_per_run):
        tags = tags_of(group, partitioned=partitions.definition is not None)
        yield dg.RunRequest(
            run_key=tick, job_name=spec.scoring, tags=tags | {REQUESTED_BY_TAG: requested_by}
        )


def _busy_partitions(instance: dg.DagsterInstance, spec: ScoringSpec) -> list[tuple[str | None, str | None]]:
    """First and last partition of every unfinished run of the scoring's job; (None, None) for a run without any."""
    unfinished = dg.RunsFilter(
        job_name=spec.scoring,
        statuses=[
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
        ],
    )
    found = []
    for run in instance.get_runs(filters=unfinished):
        single = run.tags.get(PARTITION_TAG)
        found.append((single or run.tags.get(RANGE_START_TAG), single or run.tags.get(RANGE_END_TAG)))
    return found


def _not_busy(
    instance: dg.DagsterInstance, spec: ScoringSpec, slices: Sequence[PendingSlice]
) -> list[PendingSlice]:
    """Slices that no unfinished run is about to score."""
    keys = list(partitioning(spec).keys())
    index_of = {key: index for index, key in enumerate(keys)}
    busy: set[str] = set()
    for first, last in _busy_partitions(instance, spec):
        if first is None or last is None:
            return []
        if first in index_of and last in index_of:
            busy.update(keys[index_of[first] : index_of[last] + 1])
    return [piece for piece in slices if piece.partition_key not in busy]


def _schedule(spec: ScoringSpec, job: Any) -> dg.ScheduleDefinition:
    assert spec.schedule is not None
    zone = spec.partition_spec.timezone if spec.partition_spec is not None else "UTC"

    @dg.schedule(
        name=f"{spec.scoring}_schedule",
        job=job,
        cron_schedule=spec.schedule,
        execution_timezone=zone,
        description=f"Scores the slices of {spec.scoring} that are pending by then.",
    )
    def scheduled(
        context: dg.ScheduleEvaluationContext, pool: PoolResource, artifacts: ArtifactStoreResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from _evaluate(context.instance, spec, pool, artifacts, f"schedule {spec.scoring}_schedule", None)

    return scheduled


def _new_rows_sensor(spec: ScoringSpec, job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{spec.scoring}_new_rows",
        job=job,
        minimum_interval_seconds=_ROWS_EVERY_SECONDS,
        description=f"Scores slices of {spec.scoring} with new or changed rows.",
    )
    def new_rows(
        context: dg.SensorEvaluationContext, pool: PoolResource, artifacts: ArtifactStoreResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        wanted = (Reason.NEVER_SCORED, Reason.SOURCE_CHANGED)
        yield from _evaluate(context.instance, spec, pool, None, f"sensor {spec.scoring}_new_rows", wanted)

    return new_rows


def _new_model_sensor(spec: ScoringSpec, job: Any) -> dg.SensorDefinition:
    rescored = {"none": "rescores nothing", "all": "rescores every partition"}.get(
        spec.rescore, f"rescores the {spec.rescore} partitions"
    )

    @dg.sensor(
        name=f"{spec.scoring}_new_model",
        job=job,
        minimum_interval_seconds=_MODEL_EVERY_SECONDS,
        description=f"Takes a new artifact at `{spec.onnx}`, and {rescored}.",
    )
    def new_model(
        context: dg.SensorEvaluationContext, pool: PoolResource, artifacts: ArtifactStoreResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        try:
            store = artifacts.open()
            sha256 = latest_sha256(spec, store)
        except OnnxPipelineError as error:
            yield dg.SkipReason(f"{type(error).__name__}: {error}")
            return
        current = store.current(spec.scoring)
        if current is not None and current.sha256 == sha256:
            yield dg.SkipReason(f"the artifact is still {sha256[:12]}")
            return
        # The model asset alone, once per artifact: the runs below take it along too, where there are any.
        yield dg.RunRequest(
            run_key=f"model:{sha256}",
            job_name=spec.scoring,
            asset_selection=[dg.AssetKey([spec.scoring, "model"])],
            tags={REASON_TAG: Reason.MODEL_CHANGED.value, REQUESTED_BY_TAG: f"sensor {spec.scoring}_new_model"},
        )
        if spec.rescore != "none":
            wanted = (Reason.MODEL_CHANGED,)
            yield from _evaluate(context.instance, spec, pool, artifacts, f"sensor {spec.scoring}_new_model", wanted)

    return new_model


def _evaluate(
    instance: dg.DagsterInstance,
    spec: ScoringSpec,
    pool: PoolResource,
    artifacts: ArtifactStoreResource | None,
    requested_by: str,
    wanted: Sequence[Reason] | None,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Requests for what is pending for one of the `wanted` reasons, or the reason why there are none."""
    try:
        sha256 = latest_sha256(spec, artifacts.open()) if artifacts is not None else None
        slices = pending(spec, pool.open(), partitioning(spec), sha256)
    except OnnxPipelineError as error:
        # A paused or busy pool is no failure of the sensor: it looks again at the next tick.
        yield dg.SkipReason(f"{type(error).__name__}: {error}")
        return
    slices = [piece for piece in slices if wanted is None or piece.reason in wanted]
    idle = _not_busy(instance, spec, slices)
    if not idle:
        busy = f"; {len(slices)} pending slices are being scored already" if slices else ""
        yield dg.SkipReason(f"no slice of {spec.scoring} needs scoring{busy}")
        return
    yield from requests(spec, idle, requested_by=requested_by)
