"""What Prometheus reads at `/metrics`. Labels come from the catalogue and from this code, never from a request."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from onnx_pipeline.serving.catalogue import Catalogue

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """The numbers of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "onnx_serving_requests", "Answered requests", ["model", "format", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "onnx_serving_request_seconds", "Seconds from the request's head to the answer's last byte",
            ["model", "format"], buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._rows = Counter("onnx_serving_rows", "Rows scored", ["model"], registry=self._registry)
        self._bytes = Counter("onnx_serving_received_bytes", "Bytes of requests' bodies", registry=self._registry)
        self._open = Gauge("onnx_serving_open_requests", "Requests at hand", registry=self._registry)
        self._loads = Counter(
            "onnx_serving_model_loads", "Tries to load a model, by result", ["model", "result"], registry=self._registry
        )
        self._served = Gauge(
            "onnx_serving_model_info", "1 for the version of each model that is served", ["model", "sha256"],
            registry=self._registry,
        )  # fmt: skip

    def opened(self) -> None:
        """A request arrived."""
        self._open.inc()

    def closed(self, model: str, wire: str, status: int, seconds: float, rows: int, received: int) -> None:
        """It was answered."""
        self._open.dec()
        key = (model, wire, status)
        counted = self._children.get(key)
        if counted is None:
            # Looking a series up by its labels costs more than counting.
            counted = self._requests.labels(model, wire, str(status)), self._seconds.labels(model, wire)
            self._children[key] = counted
        counted[0].inc()
        counted[1].observe(seconds)
        if received:
            self._bytes.inc(received)
        if rows:
            self._rows.labels(model).inc(rows)

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
