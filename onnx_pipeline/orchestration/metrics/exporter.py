"""What Prometheus reads: the figures of the last look, which a scrape never waits for.

prometheus_client alone, as in the service (`serving/metrics.py`): one small package without dependencies, whose text
every collector reads, OpenTelemetry's included. Labels are names of scorings, reasons and classes of errors: no text of
an error, and so no secret.
"""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnx_pipeline.base.errors import OnnxPipelineError
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.orchestration.metrics.look import Memory, Runs, Seen, count_failures, look, runs_of
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Exporter"]

_logger = logging.getLogger(__name__)

_WAIT_SECONDS = 5.0
"""How long a look waits for a busy pool at each of its statements; runs go first."""

GAUGES: Mapping[str, tuple[str, Callable[[Seen], float | None]]] = {
    "onnx_pipeline_slices": ("Partitions that stand in the target", lambda seen: seen.slices),
    "onnx_pipeline_rows": ("Rows that stand in the target, by the scoring log", lambda seen: seen.rows),
    "onnx_pipeline_last_scored_timestamp_seconds": (
        "When the newest partition was scored, as Unix time",
        lambda seen: None if seen.last_scored is None else seen.last_scored.timestamp(),
    ),
    "onnx_pipeline_last_run_rows": ("Rows that the newest run loaded", lambda seen: seen.last_run_rows),
    "onnx_pipeline_last_run_seconds": (
        "Seconds that the newest run's partitions took, by the scoring log",
        lambda seen: seen.last_run_seconds,
    ),
    "onnx_pipeline_pending_rows": ("Rows of the partitions that need scoring", lambda seen: seen.pending_rows),
    "onnx_pipeline_oldest_pending_seconds": (
        "Age of the partition that has waited longest, 0 where none waits",
        lambda seen: seen.oldest_pending_seconds,
    ),
    "onnx_pipeline_rows_outside": (
        "Rows of the source that belong to no partition and are never scored",
        lambda seen: seen.outside,
    ),
}
COUNTERS: Mapping[str, tuple[str, Callable[[Memory], float]]] = {
    "onnx_pipeline_scored_slices": ("Partitions scored since the exporter began", lambda memory: memory.slices),
    "onnx_pipeline_scored_rows": ("Rows scored since the exporter began", lambda memory: memory.rows),
    "onnx_pipeline_scored_seconds": ("Seconds of the partitions scored since then", lambda memory: memory.seconds),
    "onnx_pipeline_failed_runs": ("Runs that failed since the exporter began", lambda memory: memory.failures),
}


class Exporter(Collector):
    """Looks at scorings in turn, and shows what it saw last."""

    def __init__(
        self,
        specs: Sequence[ScoringSpec],
        pool: Pool,
        store: ArtifactStore,
        instance: dg.DagsterInstance | None,
        *,
        counters: bool = True,
        broken: Mapping[str, OnnxPipelineError] | None = None,
    ) -> None:
        """`instance` None: there is no history of runs. `counters` False: nothing that needs an earlier look.

        `broken` are the scorings that cannot be, by name: they are told as those that cannot be looked at.
        """
        self._specs, self._pool, self._store = specs, pool.waiting_at_most(_WAIT_SECONDS), store
        self._instance, self._counters = instance, counters
        self._memory = {spec.scoring: Memory() for spec in specs}
        self._seen: dict[str, Seen] = {}
        self._errors = {scoring: type(error).__name__ for scoring, error in (broken or {}).items()}
        self._runs: Mapping[str, Runs] = {}
        self._look_seconds = 0.0
        self._looked: datetime.datetime | None = None
        self._lock = threading.Lock()

    def look(self, stop: threading.Event | None = None) -> None:
        """Look at every scoring, one after the other. What cannot be looked at is told, and hides no other one."""
        started = time.monotonic()
        for spec in self._specs:
            if stop is not None and stop.is_set():
                return
            self._look_at(spec)
        self._look_at_runs()
        with self._lock:
            self._look_seconds, self._looked = time.monotonic() - started, _now()

    def _look_at(self, spec: ScoringSpec) -> None:
        scoring = spec.scoring
        try:
            seen = look(spec, self._pool, self._store, self._memory[scoring], now=_now())
        except OnnxPipelineError as error:
            _logger.warning("%s: %s: %s", scoring, type(error).__name__, error)
            with self._lock:
                # Figures of an earlier look would read as if they were true.
                self._seen.pop(scoring, None)
                self._errors[scoring] = type(error).__name__
            return
        with self._lock:
            self._seen[scoring] = seen
            self._errors.pop(scoring, None)

    def _look_at_runs(self) -> None:
        if self._instance is None:
            return
        runs = runs_of(self._instance, [spec.scoring for spec in self._specs], now=_now())
        with self._lock:
            self._runs = runs
            for scoring, found in runs.items():
                count_failures(self._memory[scoring], found)

    def collect(self) -> Iterator[Metric]:
        """Called by a scrape: shows, and asks nobody."""
        with self._lock:
            yield from self._of_pool()
            yield from self._of_runs()
            yield from self._of_exporter()

    def _of_pool(self) -> Iterator[Metric]:
        for name, (text, figure) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["scoring"])
            for scoring, seen in self._seen.items():
                value = figure(seen)
                if value is not None:
                    gauge.add_metric([scoring], value)
            yield gauge
        pending = GaugeMetricFamily(
            "onnx_pipeline_pending_slices", "Partitions that need scoring, by reason", labels=["scoring", "reason"]
        )
        for scoring, seen in self._seen.items():
            for reason, count in sorted(seen.pending.items()):
                pending.add_metric([scoring, reason.value], count)
        yield pending
        if self._counters:
            for name, (text, counted) in COUNTERS.items():
                counter = CounterMetricFamily(name, text, labels=["scoring"])
                for scoring, memory in self._memory.items():
                    counter.add_metric([scoring], counted(memory))
                yield counter

    def _of_runs(self) -> Iterator[Metric]:
        unfinished = GaugeMetricFamily("onnx_pipeline_unfinished_runs", "Runs queued or at work", labels=["scoring"])
        failed = GaugeMetricFamily(
            "onnx_pipeline_failed_runs_day", "Runs that failed in the last 24 hours", labels=["scoring"]
        )
        last = GaugeMetricFamily(
            "onnx_pipeline_last_run_failed", "1 where the newest run failed, else 0", labels=["scoring"]
        )
        for scoring, runs in self._runs.items():
            unfinished.add_metric([scoring], runs.unfinished)
            failed.add_metric([scoring], len(runs.failed))
            last.add_metric([scoring], int(runs.last_failed))
        yield from (unfinished, failed, last)

    def _of_exporter(self) -> Iterator[Metric]:
        readable = GaugeMetricFamily(
            "onnx_pipeline_up", "1 where the last look at a scoring succeeded, else 0, with the class of the error",
            labels=["scoring", "error"],
        )  # fmt: skip
        for scoring in sorted(self._seen):
            readable.add_metric([scoring, ""], 1)
        for scoring, error in sorted(self._errors.items()):
            readable.add_metric([scoring, error], 0)
        yield readable
        if self._looked is not None:
            yield GaugeMetricFamily(
                "onnx_pipeline_look_timestamp_seconds",
                "When the last look ended, as Unix time",
                self._looked.timestamp(),
            )
            yield GaugeMetricFamily("onnx_pipeline_look_seconds", "Seconds that the last look took", self._look_seconds)


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.timezone.utc)
