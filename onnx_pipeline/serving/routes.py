"""What is served at which path."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route
from starlette.types import Receive

from onnx_pipeline.serving.catalogue import Catalogue
from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.metrics import METRICS_TYPE, Metrics
from onnx_pipeline.serving.scoring import Scoring

__all__ = ["Endpoint", "endpoints"]

Handler = Callable[[Exchange, dict[str, Any], Receive], Awaitable[Reply]]


@dataclass(frozen=True)
class Endpoint:
    """A path, its methods, and what answers there."""

    route: Route
    answer: Handler
    open: bool
    """Whether it needs no key: probes send none, and learn nothing but whether the service lives."""


def endpoints(scoring: Scoring, catalogue: Catalogue, metrics: Metrics) -> list[Endpoint]:
    """All of them, the busiest first."""

    async def score(exchange: Exchange, params: dict[str, Any], receive: Receive) -> Reply:
        return await scoring.score(exchange, params.get("name"), receive)

    async def models(exchange: Exchange, params: dict[str, Any], receive: Receive) -> Reply:
        return Reply.json(
            {"models": [{"name": name, "state": entry.state} for name, entry in catalogue.entries.items()]}
        )

    async def alive(exchange: Exchange, params: dict[str, Any], receive: Receive) -> Reply:
        return Reply.json({"status": "alive"})

    async def ready(exchange: Exchange, params: dict[str, Any], receive: Receive) -> Reply:
        states = {name: entry.state for name, entry in catalogue.entries.items()}
        good = catalogue.ready
        return Reply.json({"status": "ready" if good else "not ready", "models": states}, 200 if good else 503)

    async def measured(exchange: Exchange, params: dict[str, Any], receive: Receive) -> Reply:
        return Reply(200, metrics.text(catalogue), METRICS_TYPE)

    return [
        _endpoint("POST", "/models/{name}/score", score),
        _endpoint("POST", "/score", score),
        _endpoint("GET", "/models", models),
        _endpoint("GET", "/healthz", alive, open_=True),
        _endpoint("GET", "/readyz", ready, open_=True),
        _endpoint("GET", "/metrics", measured),
    ]


def _endpoint(method: str, path: str, answer: Handler, *, open_: bool = False) -> Endpoint:
    return Endpoint(Route(path, endpoint=_unused, methods=[method]), answer, open_)


def _unused() -> None:
    """Starlette's routes match paths here; calling the handler is the app's."""
