"""What Prometheus reads at `/metrics`. Labels come from the catalogue and from this code, never from a request.

Requests are counted in plain numbers, which only the event loop changes, and handed to Prometheus's library when it
asks: its own counters take a lock each, together a tenth of the time that a small request takes.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from onnx_pipeline.serving.catalogue import Catalogue

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BOUNDS = (*map(str, _SECONDS), "+Inf")


class _Series:
    """Requests of one model, format and status."""

    def __init__(self) -> None:
        self.created = time.time()
        self.seconds = 0.0
        self.rows = 0
        self.by_bucket = [0] * len(_BOUNDS)


class _Requests(Collector):
    """What was counted, as Prometheus's families."""

    def __init__(self) -> None:
        self.created = time.time()
        self.open = 0
        self.received = 0
        self.series: dict[tuple[str, str, int], _Series] = {}

    def collect(self) -> Iterator[Metric]:
        answered = CounterMetricFamily(
            "onnx_serving_requests", "Answered requests", labels=["model", "format", "status"]
        )
        for (model, wire, status), one in self.series.items():
            answered.add_metric([model, wire, str(status)], sum(one.by_bucket), created=one.created)
        yield answered
        yield self._histogram()
        rows = CounterMetricFamily("onnx_serving_rows", "Rows scored", labels=["model"])
        for (name,), of_model in self._by(0).items():
            if any(one.rows for one in of_model):
                rows.add_metric([name], sum(one.rows for one in of_model), created=_first(of_model))
        yield rows
        yield CounterMetricFamily(
            "onnx_serving_received_bytes", "Bytes of requests' bodies", value=self.received, created=self.created
        )
        yield GaugeMetricFamily("onnx_serving_open_requests", "Requests at hand", value=self.open)

    def _histogram(self) -> Metric:
        name = "onnx_serving_request_seconds"
        found = HistogramMetricFamily(
            name, "Seconds from the request's head to the answer's last byte", labels=["model", "format"]
        )
        for (model, wire), all_status in self._by(1).items():
            below, buckets = 0, []
            for place, bound in enumerate(_BOUNDS):
                below += sum(one.by_bucket[place] for one in all_status)
                buckets.append((bound, below))
            found.add_metric([model, wire], buckets, sum(one.seconds for one in all_status))
            found.add_sample(f"{name}_created", {"model": model, "format": wire}, _first(all_status))
        return found

    def _by(self, last: int) -> dict[tuple[str, ...], list[_Series]]:
        """The series by their labels up to that one."""
        found: dict[tuple[str, ...], list[_Series]] = {}
        for (model, wire, _), one in self.series.items():
            found.setdefault((model, wire)[: last + 1], []).append(one)
        return found


def _first(series: list[_Series]) -> float:
    return min(one.created for one in series)


class Metrics:
    """The numbers of one service. `opened`, `closed` and `text` are for the event loop."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Requests()
        self._registry.register(self._requests)
        self._loads = Counter(
            "onnx_serving_model_loads", "Tries to load a model, by result", ["model", "result"], registry=self._registry
        )
        self._served = Gauge(
            "onnx_serving_model_info", "1 for the version of each model that is served", ["model", "sha256"],
            registry=self._registry,
        )  # fmt: skip

    def opened(self) -> None:
        """A request arrived."""
        self._requests.open += 1

    def closed(self, model: str, wire: str, status: int, seconds: float, rows: int, received: int) -> None:
        """It was answered."""
        found = self._requests
        found.open -= 1
        found.received += received
        key = (model, wire, status)
        series = found.series.get(key)
        if series is None:
            series = found.series[key] = _Series()
        series.seconds += seconds
        series.rows += rows
        series.by_bucket[bisect_left(_SECONDS, seconds)] += 1

    def loaded(self, model: str, result: str) -> None:
        """A model was tried, or left."""
        self._loads.labels(model, result).inc()

    def text(self, catalogue: Catalogue) -> bytes:
        """All of it, in Prometheus's text format."""
        self._served.clear()
        for name, entry in catalogue.entries.items():
            if entry.served is not None:
                self._served.labels(name, entry.served.model.sha256).set(1)
        return generate_latest(self._registry)
