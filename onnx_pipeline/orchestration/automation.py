"""Jobs, schedules and sensors of the scorings. What they ask for carries tags that say why, and who asked.

What is pending follows from the scoring log at every look, so a run that failed needs no memory here: its slices are
found again until they are scored. No run key names them, since a key that was used once is never launched again; what
an unfinished run is about to score is left out instead, and what failed waits a while (see `run_history`).
"""

import datetime
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import OnnxPipelineError, SpecError
from onnx_pipeline.models.origins import LatestModel
from onnx_pipeline.orchestration.executor import end_dead_runs
from onnx_pipeline.orchestration.fallback import resources_at_tick
from onnx_pipeline.orchestration.names import asset_key
from onnx_pipeline.orchestration.pod_sizes import pod_tags
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, PoolResource
from onnx_pipeline.orchestration.run_history import run_history
from onnx_pipeline.orchestration.scoring_job import scoring_job
from onnx_pipeline.orchestration.selection import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.pending import PendingSlice, Reason, contiguous, outlook
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["REASON_TAG", "REQUESTED_BY_TAG", "build_automation", "requests", "tags_of"]

REASON_TAG = "onnx_pipeline/reason"
"""Why a run was asked for: `never scored`, `source changed`, `settings changed`, ..., or several of them."""
REQUESTED_BY_TAG = "onnx_pipeline/requested_by"
"""The schedule or sensor that asked."""

ROWS_EVERY_VARIABLE = "ONNX_PIPELINE_NEW_ROWS_SECONDS"
"""Environment variable: how often the new-rows sensors look, in seconds; 300 by default."""
_ROWS_EVERY_SECONDS = 300
_MODEL_EVERY_SECONDS = 60
_WAIT_SECONDS = 10.0
"""How long a tick waits for a busy pool, at each of its few statements; Dagster ends a tick after 60 s."""


def build_automation(spec: ScoringSpec) -> dg.Definitions:
    """The job of a scoring, its schedule if the spec has one, and its two sensors."""
    job = scoring_job(spec)
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
    spec: ScoringSpec,
    slices: Sequence[PendingSlice],
    *,
    requested_by: str,
    failures: Mapping[str, int] | None = None,
    tick: str | None = None,
) -> Iterator[dg.RunRequest]:
    """Run requests for pending slices: neighbours together, at most `partitions_per_run` in each.

    `failures` says how often in a row a slice failed: each time a tenth of the partitions go into one run, so that
    one bad slice soon stands alone and no longer stops its neighbours. `tick` makes run keys of one evaluation of a
    schedule, which Dagster wants there; without it requests have none.
    """
    partitions = partitioning(spec)
    alike: dict[int, list[PendingSlice]] = defaultdict(list)
    for piece in slices:
        alike[(failures or {}).get(piece.partition_key, 0)].append(piece)
    for failed, pieces in sorted(alike.items()):
        for group in contiguous(pieces, partitions.keys(), most=max(1, spec.partitions_per_run // 10**failed)):
            tags = tags_of(group, partitioned=partitions.definition is not None)
            sized = pod_tags(sum(piece.rows for piece in group))
            yield dg.RunRequest(
                run_key=None if tick is None else f"{tick} {group[0].partition_key}",
                job_name=spec.scoring,
                tags=tags | {REQUESTED_BY_TAG: requested_by} | sized,
            )


def _schedule(spec: ScoringSpec, job: Any) -> dg.ScheduleDefinition:
    assert spec.schedule is not None
    zone = spec.partition_spec.timezone if spec.partition_spec is not None else "UTC"
    name = f"{spec.scoring}_schedule"

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=spec.schedule,
        execution_timezone=zone,
        description=f"Scores the partitions of {spec.scoring} that are pending by then, also those that failed before.",
    )
    def scheduled(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick = context.scheduled_execution_time.isoformat()
        with resources_at_tick(context, "pool", "artifacts") as (pool, artifacts):
            yield from _evaluate(context.instance, spec, pool, f"schedule {name}", artifacts=artifacts, tick=tick)

    return scheduled


def _rows_every_seconds() -> int:
    text = os.environ.get(ROWS_EVERY_VARIABLE) or str(_ROWS_EVERY_SECONDS)
    if not text.isdecimal():
        raise SpecError(f"{ROWS_EVERY_VARIABLE} is {text!r}; write whole seconds, e.g. {_ROWS_EVERY_SECONDS}")
    return int(text)


def _new_rows_sensor(spec: ScoringSpec, job: Any) -> dg.SensorDefinition:
    name = f"{spec.scoring}_new_rows"

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=_rows_every_seconds(),
        description=f"Scores partitions of {spec.scoring} with new or changed rows, and all of a missing target.",
    )
    def new_rows(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        wanted = (Reason.NEVER_SCORED, Reason.TARGET_MISSING, Reason.SOURCE_CHANGED)
        with resources_at_tick(context, "pool") as (pool,):
            yield from _evaluate(context.instance, spec, pool, f"sensor {name}", wanted=wanted)

    return new_rows


def _new_model_sensor(spec: ScoringSpec, job: Any) -> dg.SensorDefinition:
    name = f"{spec.scoring}_new_model"
    rescored = {"none": "rescores nothing", "all": "rescores every partition"}.get(
        spec.rescore, f"rescores the {spec.rescore} partitions"
    )

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=_MODEL_EVERY_SECONDS,
        description=f"Takes a new artifact at `{spec.model_place}`, and {rescored}; so do other settings.",
    )
    def new_model(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with resources_at_tick(context, "pool", "artifacts") as (pool, artifacts):
            yield from look(context, pool, artifacts)

    def look(
        context: dg.SensorEvaluationContext, pool: PoolResource, artifacts: ArtifactStoreResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """First the model asset alone, once per artifact; once that is current, slices until they are scored with it.

        An artifact that the model asset refused is not asked for again: it stays refused until it is replaced. The
        cursor holds the artifact seen last, so one that comes back after another is new again.
        """
        try:
            store = artifacts.open()
            latest = model_origin(spec).latest(store, seen=_seen(context.cursor))
            current = store.current(spec.scoring)
        except OnnxPipelineError as error:
            yield dg.SkipReason(f"{type(error).__name__}: {error}")
            return
        sha256, artifact = latest.sha256, " ".join(latest)
        asked = context.cursor == artifact
        context.update_cursor(artifact)
        if current is not None and current.sha256 == sha256:
            if spec.rescore == "none":
                yield dg.SkipReason(f"the artifact is still {sha256[:12]}")
                return
            wanted = (Reason.MODEL_CHANGED, Reason.SETTINGS_CHANGED)
            yield from _evaluate(context.instance, spec, pool, f"sensor {name}", sha256=sha256, wanted=wanted)
        elif asked:
            yield dg.SkipReason(
                f"artifact {sha256[:12]} was asked for already and is not in use: its run has not ended yet, or "
                f"failed. Replace it, or materialize {spec.scoring}/model once what made it fail is mended."
            )
        else:
            yield dg.RunRequest(
                job_name=spec.scoring,
                asset_selection=[asset_key(spec.scoring, "model")],
                tags={REASON_TAG: Reason.MODEL_CHANGED.value, REQUESTED_BY_TAG: f"sensor {name}"} | pod_tags(0),
            )

    return new_model


def _seen(cursor: str | None) -> LatestModel | None:
    """The artifact that the cursor holds."""
    parts = (cursor or "").split(" ", 2)
    return LatestModel(*parts) if len(parts) == len(LatestModel._fields) else None


def _evaluate(
    instance: dg.DagsterInstance,
    spec: ScoringSpec,
    pool: PoolResource,
    requested_by: str,
    *,
    artifacts: ArtifactStoreResource | None = None,
    sha256: str | None = None,
    wanted: Sequence[Reason] | None = None,
    tick: str | None = None,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Requests for what is pending for one of the `wanted` reasons, or the reason why there are none.

    What another model changed counts where the model is given, by its sha256 or by the store that tells it. A schedule,
    which has a `tick`, asks at its hour whatever failed before.
    """
    partitions = partitioning(spec)
    try:
        if artifacts is not None:
            sha256 = model_origin(spec).latest(artifacts.open()).sha256
        with pool.open().waiting_at_most(_WAIT_SECONDS).looking("looking for what is pending") as looked_at:
            found = outlook(spec, looked_at, partitions, sha256)
    except OnnxPipelineError as error:
        # A paused or busy pool is no failure of the sensor: it looks again at the next tick.
        yield dg.SkipReason(f"{type(error).__name__}: {error}")
        return
    slices = [piece for piece in found.slices if wanted is None or piece.reason in wanted]
    if not slices:
        yield dg.SkipReason("; ".join([f"no partition of {spec.scoring} needs scoring", *found.notes]))
        return
    # A run whose process died would keep its slices busy for ever.
    end_dead_runs(instance)
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    history = run_history(instance, spec.scoring, partitions, now=now)
    idle = [piece for piece in slices if piece.partition_key not in history.busy]
    waiting = [history.not_before.get(piece.partition_key, now) for piece in idle]
    due = [piece for piece, moment in zip(idle, waiting, strict=True) if tick is not None or moment <= now]
    if not due:
        reasons = [f"{len(slices) - len(idle)} are being scored already"] if len(slices) > len(idle) else []
        if idle:
            again = min(waiting).isoformat(sep=" ", timespec="seconds")
            reasons.append(f"{len(idle)} failed, and are asked for again from {again} on")
        yield dg.SkipReason(f"of {len(slices)} pending partitions of {spec.scoring} {' and '.join(reasons)}")
        return
    yield from requests(spec, due, requested_by=requested_by, failures=history.failures, tick=tick)
