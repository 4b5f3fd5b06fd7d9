"""The service under uvicorn: binds, says where it listens and who may come in, and ends gracefully."""

import contextlib
import gc
import logging
import signal
import socket
import sys

import uvicorn

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hosts import is_loopback
from onnx_pipeline.serving import logs
from onnx_pipeline.serving.app import create_app
from onnx_pipeline.serving.auth import KEYS, KEYS_FILE
from onnx_pipeline.serving.protocol import BoundedProtocol
from onnx_pipeline.serving.settings import ServingSettings

__all__ = ["serve"]

_logger = logging.getLogger("onnx_pipeline.serving")

_KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s of the usual proxy, which would else send a request into a connection that is closing."""

_CONNECTIONS = 1000
"""Open at once; below the 1,024 files that a process may usually open."""


def serve(settings: ServingSettings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what it holds.

    Raises SpecError for a host beyond loopback without a key, an address that is taken, and models that cannot be.
    """
    if not settings.keys and not settings.trust_host and not is_loopback(host):
        raise SpecError(
            f"no API key is set, so the service would answer anybody who reaches {host}; set {KEYS} or {KEYS_FILE}, "
            "name a file by --keys-file, or listen on --host 127.0.0.1"
        )
    app = create_app(settings)
    listener = _bind(host, port)
    logs.configure()
    address, bound = listener.getsockname()[:2]
    _logger.info(
        "listening",
        extra={
            "url": f"http://{f'[{address}]' if ':' in address else address}:{bound}", "models": list(settings.models),
            "access": _access(settings),
            "threads": settings.threads, "queue": settings.queue,
        },
    )  # fmt: skip
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    # uvicorn raises the signal again once everything is finished: to have been stopped is no failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    # What is imported stays: a full collection, which holds up every request, need not look at it.
    gc.freeze()
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _access(settings: ServingSettings) -> str:
    if settings.trust_host:
        return "whoever reaches it: the host in front is trusted to check keys"
    return "an API key opens it" if settings.keys else "no API key is set: this machine only"


def _bind(host: str, port: int) -> socket.socket:
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with contextlib.ExitStack() as closing:
            listener = closing.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            closing.pop_all()
    except OSError as error:
        raise SpecError(
            f"the service cannot listen on {host}:{port} ({error.strerror or error}); name another --host or --port"
        ) from error
    return listener
