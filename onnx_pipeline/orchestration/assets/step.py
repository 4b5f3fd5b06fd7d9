"""One asset of one run at work: what it was asked for, what it did, and what Dagster is told of it."""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import DataError, OnnxPipelineError
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.orchestration.assets.plans import plan_of_run
from onnx_pipeline.orchestration.checks import evaluation
from onnx_pipeline.orchestration.names import ASSETS, asset_key
from onnx_pipeline.orchestration.run_history import unfinished_runs
from onnx_pipeline.orchestration.selection import requested_partitions
from onnx_pipeline.partitions.base import Partitioning
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.refusals import Watch
from onnx_pipeline.scoring.staging import Stage, Staging
from onnx_pipeline.scoring.verdicts import Verdict
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["FIRST_WAIT_SECONDS", "Events", "Resources", "Step", "Work", "running"]

RETRIES = 3
FIRST_WAIT_SECONDS = 5.0

Events = Iterator[Any]
"""What a step emits: check evaluations, materializations, outputs."""


@dataclass(frozen=True)
class Resources:
    """What every asset of a scoring works with."""

    pool: Pool
    artifacts: ArtifactStore
    staging: Staging
    runtime: RuntimeOptions


@dataclass(frozen=True)
class Step:
    """What one of the four assets is; they differ in nothing else."""

    name: str
    describe: Callable[[ScoringSpec], str]
    kinds: Callable[[ScoringSpec], Collection[str]]
    deps: Callable[[ScoringSpec], Sequence[dg.AssetKey]]
    work: Callable[["Work"], Mapping[str, Any]]
    """Does it; gives the metadata that all partitions share."""
    partitioned: bool = True
    holds_pool: Callable[[ScoringSpec], bool] = lambda _: True
    """Whether it takes a slot of Dagster's concurrency pool for the pool that it works in."""
    metadata: Callable[[ScoringSpec], Mapping[str, Any]] = lambda _: {}


_OF_COLUMNS = ("dagster/column_schema", "dagster/column_lineage")


@dataclass
class Work:
    """One asset of one run at work."""

    context: dg.AssetExecutionContext
    spec: ScoringSpec
    step: Step
    resources: Resources
    done: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the materialization of each partition shows."""
    verdicts: list[Verdict] = field(default_factory=list)
    data_version: str | None = None

    @cached_property
    def partitioning(self) -> Partitioning:
        return partitioning(self.spec)

    @property
    def is_partitioned(self) -> bool:
        return self.step.partitioned and self.partitioning.definition is not None

    @cached_property
    def keys(self) -> Sequence[str]:
        """The partitions that the run was asked for."""
        return requested_partitions(self.context, self.spec.scoring, self.partitioning)

    def keys_from(self, stage: Stage) -> list[str]:
        """`keys` without those that an asset of this run refused before."""
        good = []
        for key in self.keys:
            withdrawn = self.resources.staging.withdrawn(self.spec.scoring, stage, key)
            if withdrawn is not None and withdrawn.run_id == self.context.run.run_id:
                self.watch.refuse(key, DataError(withdrawn.why))
            else:
                good.append(key)
        return good

    @cached_property
    def pool(self) -> Pool:
        """The pool as this run uses it."""
        instance = self.context.instance
        return self.resources.pool.for_run(self.context.run.run_id, lambda: unfinished_runs(instance))

    @property
    def plan(self) -> ScoringPlan:
        """The plan for the model that the model asset made current, made once per run and process."""
        return plan_of_run(self.context.run.run_id, self.spec, self.pool, self.resources.artifacts)

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.verdicts.append, self.context.run.run_id)

    def say(self, text: str) -> None:
        self.context.log.info(text)

    def warn(self, text: str) -> None:
        self.context.log.warning(text)

    def finished(self, partition_key: str, metadata: Mapping[str, Any]) -> None:
        """One partition is done: what its materialization shows."""
        self.done[partition_key] = metadata

    def counts(self, rows: int, seconds: float) -> dict[str, Any]:
        """Rows and speed, under the names that the UI knows."""
        return {
            "dagster/partition_row_count" if self.is_partitioned else "dagster/row_count": rows,
            "rows_per_second": round(rows / seconds) if seconds else 0,
            "seconds": round(seconds, 4),
        }

    @property
    def goes_on(self) -> bool:
        """Whether a refused slice is for the next asset of this run to tell, which loads the others before it fails."""
        following = ASSETS[ASSETS.index(self.step.name) + 1 :]
        if not self.done or not following:
            return False
        of_run = self.context.job_def.asset_layer.executable_asset_keys
        return asset_key(self.spec.scoring, following[0]) in of_run

    def _evaluations(self, *, stop: bool) -> Events:
        for verdict in self.verdicts:
            # Dagster would end the run over a blocking evaluation; where the other slices go on, only the slice ends.
            blocking = verdict.blocking and (stop or verdict.partition_key is None)
            yield evaluation(self.spec, self.step.name, verdict, blocking=blocking, partitioned=self.is_partitioned)

    def events(self, metadata: Mapping[str, Any]) -> Events:
        """The step's materializations, one per partition, and its checks."""
        yield from self._evaluations(stop=False)
        refused = {key: {"refused": str(error)} for key, error in self.watch.refused.items()}
        if self.is_partitioned:
            # Of hundreds of columns they are long, and the same in every partition: Dagster shows the last event's.
            of_columns = {name: metadata[name] for name in _OF_COLUMNS if name in metadata}
            metadata = {name: shown for name, shown in metadata.items() if name not in of_columns}
            last = next(reversed(self.done), None)
            for key, shown in (refused | self.done).items():
                self.context.add_asset_metadata({**shown, **(of_columns if key == last else {})}, partition_key=key)
        else:
            metadata = {**metadata, **next(iter(self.done.values()), {})}
        version = dg.DataVersion(self.data_version) if self.data_version is not None else None
        yield dg.MaterializeResult(metadata=metadata, data_version=version)
        asset = asset_key(self.spec.scoring, self.step.name).to_python_identifier()
        for name in self.context.op_def.output_dict:
            if name != asset:
                # The evaluations were emitted above, with their partitions; Dagster also wants the outputs.
                yield dg.Output(None, output_name=name)

    def partial_events(self) -> Events:
        """What a failing step still has to tell: its checks, and the partitions that it did finish."""
        yield from self._evaluations(stop=True)
        if self.is_partitioned:
            for key, shown in self.done.items():
                yield dg.AssetMaterialization(
                    asset_key=asset_key(self.spec.scoring, self.step.name), partition=key, metadata=shown
                )


def running(work: Work) -> Events:
    """Run a step; our errors become failures that say what to do, retried only where that can help."""
    context = work.context
    try:
        metadata = work.step.work(work)
        if not work.goes_on:
            work.watch.end()
    except OnnxPipelineError as error:
        yield from work.partial_events()
        message = f"{type(error).__name__}: {error}"
        if error.transient and context.retry_number < RETRIES:
            wait = FIRST_WAIT_SECONDS * 2**context.retry_number * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            context.log.warning("%s Trying again in %.0f s.", message, wait)
            raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=wait) from error
        raise dg.Failure(description=message, allow_retries=False) from error
    for refusal in work.watch.refused.values():
        context.log.error("%s: %s", type(refusal).__name__, refusal)
    yield from work.events(metadata)
