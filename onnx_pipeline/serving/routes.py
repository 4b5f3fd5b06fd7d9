"""What is served at which path."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route
from starlette.types import Receive

from onnx_pipeline.serving.docs_page import DocsPage
from onnx_pipeline.serving.endpoints import ScoringEndpoints
from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.pages import Pages

__all__ = ["Endpoint", "endpoints"]

Handler = Callable[[Exchange, dict[str, Any], Receive], Awaitable[Reply]]


@dataclass(frozen=True)
class Endpoint:
    """A path, its methods, and what answers there."""

    route: Route
    answer: Handler
    open: bool
    """Whether it needs no key: probes send none, and learn nothing but whether the service lives; nor does `/docs`."""


def endpoints(scoring: ScoringEndpoints, pages: Pages) -> list[Endpoint]:
    """All of them, the busiest first."""
    v2, docs = "/v2/models/{name}", DocsPage()
    return [
        _endpoint("POST", "/models/{name}/score", scoring.score),
        _endpoint("POST", "/score", scoring.score),
        _endpoint("POST", f"{v2}/infer", scoring.infer),
        _endpoint("POST", f"{v2}/versions/{{version}}/infer", scoring.infer),
        _endpoint("GET", "/healthz", pages.alive, open_=True),
        _endpoint("GET", "/readyz", pages.ready, open_=True),
        _endpoint("GET", "/v2/health/live", pages.alive, open_=True),
        _endpoint("GET", "/v2/health/ready", pages.ready, open_=True),
        _endpoint("GET", "/metrics", pages.metrics),
        _endpoint("GET", "/openapi.json", pages.openapi),
        # Without a key: the page holds nothing of the models, and asks for the key that shows them.
        _endpoint("GET", "/docs", docs.page, open_=True),
        _endpoint("GET", "/docs/{file}", docs.file, open_=True),
        _endpoint("GET", "/models", pages.models),
        _endpoint("GET", "/models/{name}", pages.model),
        _endpoint("GET", "/v2", pages.v2_server),
        _endpoint("GET", v2, pages.v2_model),
        _endpoint("GET", f"{v2}/ready", pages.v2_model_ready),
        _endpoint("GET", f"{v2}/versions/{{version}}", pages.v2_model),
        _endpoint("GET", f"{v2}/versions/{{version}}/ready", pages.v2_model_ready),
    ]


def _endpoint(method: str, path: str, answer: Handler, *, open_: bool = False) -> Endpoint:
    return Endpoint(Route(path, endpoint=_unused, methods=[method]), answer, open_)


def _unused() -> None:
    """Starlette's routes match paths here; what answers is the endpoint's own."""
