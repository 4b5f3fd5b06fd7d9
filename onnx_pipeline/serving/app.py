"""The ASGI app: routes, and around them keys, request ids, metrics, the log, and errors as JSON."""

import logging
import traceback
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from onnx_pipeline.serving.auth import Guard
from onnx_pipeline.serving.catalogue import Catalogue
from onnx_pipeline.serving.endpoints import ScoringEndpoints
from onnx_pipeline.serving.exchange import Exchange, Reply
from onnx_pipeline.serving.limits import Intake, ScoringThreads
from onnx_pipeline.serving.logs import request_line
from onnx_pipeline.serving.metrics import Metrics
from onnx_pipeline.serving.pages import Pages
from onnx_pipeline.serving.refusals import ClientGoneError, Refusal
from onnx_pipeline.serving.routes import Endpoint, endpoints
from onnx_pipeline.serving.settings import ServingSettings

__all__ = ["ServingApp", "create_app"]

_logger = logging.getLogger("onnx_pipeline.serving")
_KNOWN, _LONGEST_KNOWN = 256, 256
"""Paths whose endpoints are remembered, and characters of one: to match one anew takes 2 µs for each endpoint."""
_CLIENT_GONE = 499
"""What the log calls an exchange that its client left; nginx's number."""


def create_app(settings: ServingSettings | None = None) -> "ServingApp":
    """The service over the settings of the environment, by default. Raises SpecError for settings that cannot work."""
    chosen = settings or ServingSettings.from_environment()
    metrics = Metrics()
    catalogue = Catalogue(
        chosen.models,
        options=chosen.runtime,
        reload_seconds=chosen.reload_seconds,
        loaded=metrics.loaded,
        features=chosen.features,
    )
    return ServingApp(chosen, catalogue, metrics)


class _Found(NamedTuple):
    """What a path and a method lead to."""

    route: str
    endpoint: Endpoint | None = None
    params: Mapping[str, Any] = MappingProxyType({})
    allowed: frozenset[str] = frozenset()
    """Where no endpoint takes the method: those that some take."""


class ServingApp:
    """Answers HTTP requests; starts loading models with the server's lifespan."""

    def __init__(self, settings: ServingSettings, catalogue: Catalogue, metrics: Metrics) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self._metrics = metrics
        self._guard = Guard(settings.keys, trust_host=settings.trust_host)
        self._threads = ScoringThreads(settings)
        scoring = ScoringEndpoints(catalogue, Intake(settings), self._threads)
        self._endpoints = endpoints(scoring, Pages(catalogue, metrics, keyed=bool(settings.keys)))
        self._known = lru_cache(_KNOWN)(self._found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._exchange(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.catalogue.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def close(self) -> None:
        """Ends the threads; a server does it by the lifespan."""
        self.catalogue.stop()
        self._threads.close()

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope)
        self._metrics.opened()
        try:
            reply = await self._reply(exchange, scope, receive)
            await exchange.send(reply, send, self.settings.send_seconds)
        except ClientGoneError:
            exchange.status, exchange.code = _CLIENT_GONE, "client_gone"
        except TimeoutError:
            exchange.code = "client_too_slow"
            raise  # the server closes the connection: part of the answer is out
        finally:
            self._closed(exchange)

    async def _reply(self, exchange: Exchange, scope: Scope, receive: Receive) -> Reply:
        try:
            endpoint = self._endpoint(exchange, scope)
            if not endpoint.open:
                client = scope.get("client")
                self._guard.check(exchange.headers, client[0] if client else None)
            return await endpoint.answer(exchange, scope["path_params"], receive)
        except Refusal as refusal:
            return exchange.refusing(refusal)
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one request does, the others are served
            # The exception's own text may hold what the rows held.
            exchange.error = type(error).__name__
            _logger.error(  # noqa: TRY400 - not with the text
                "request_crashed",
                extra={
                    "request_id": exchange.request_id, "error": type(error).__name__,
                    "traceback": traceback.format_tb(error.__traceback__),
                },
            )  # fmt: skip
            crash = Refusal(500, "internal_error", "the service failed; its log tells more under this request id")
            return exchange.refusing(crash)

    def _endpoint(self, exchange: Exchange, scope: Scope) -> Endpoint:
        place = scope["method"], scope["path"], scope.get("root_path", "")
        found = self._known(*place) if len(scope["path"]) <= _LONGEST_KNOWN else self._found(*place)
        exchange.route = found.route
        if found.endpoint is not None:
            scope["path_params"] = found.params
            return found.endpoint
        if found.allowed:
            methods = ", ".join(sorted(found.allowed))
            raise Refusal(405, "method_not_allowed", f"this path takes {methods}", allow=methods)
        raise Refusal(404, "path_unknown", "there is nothing at this path; /openapi.json lists what there is")

    def _found(self, method: str, path: str, root_path: str) -> "_Found":
        scope = {"type": "http", "method": method, "path": path, "root_path": root_path}
        allowed: set[str] = set()
        route = "unknown"
        for endpoint in self._endpoints:
            match, found = endpoint.route.matches(scope)
            if match is Match.NONE:
                continue
            route = endpoint.route.path
            if match is Match.FULL:
                return _Found(route, endpoint, found["path_params"])
            allowed |= endpoint.route.methods or set()
        return _Found(route, allowed=frozenset(allowed))

    def _closed(self, exchange: Exchange) -> None:
        seconds = exchange.seconds
        self._metrics.closed(
            exchange.model, exchange.format, exchange.status, seconds, exchange.rows, exchange.received
        )
        if self.settings.access_log and _logger.isEnabledFor(logging.INFO):
            request_line(
                _logger,
                {
                    "request_id": exchange.request_id, "method": exchange.method, "route": exchange.route,
                    "status": exchange.status, "code": exchange.code, "model": exchange.model or None,
                    "sha256": exchange.sha256, "format": exchange.format or None, "rows": exchange.rows,
                    "bytes": exchange.received, "seconds": round(seconds, 6),
                },
            )  # fmt: skip
