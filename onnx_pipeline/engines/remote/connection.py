"""One HTTP connection: HTTP/2 where it is offered, one deadline per request, and an end that comes at once.

httpcore speaks the protocols. The socket is ours, for two reasons. Timeouts of HTTP clients hold for each read, so a
service that sends a byte now and then is waited for without end; and a read that waits in one thread can be ended from
another only by shutting its socket down.
"""

import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from onnx_pipeline.base.errors import ServiceError, SpecError, first_line
from onnx_pipeline.base.hosts import is_loopback
from onnx_pipeline.base.network import lasting_reason
from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.sockets import Sockets, TlsError
from onnx_pipeline.spec.engines.remote import RemoteOptions

__all__ = ["Answer", "BrokenConnection", "Connection", "TlsRefused", "Unreachable"]

_MOST_ANSWER_BYTES = 512 * 1024 * 1024
"""An answer is smaller than its request, as a rule far smaller; what never ends must not fill the memory."""


@dataclass(frozen=True)
class Answer:
    """What the service sent."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    protocol: str
    """`HTTP/1.1` or `HTTP/2`."""


class BrokenConnection(Exception):  # noqa: N818 - it is what happened
    """No whole answer came: the reason, for people. The same request may succeed later."""


class Unreachable(Exception):  # noqa: N818 - it is what happened
    """No way leads to the service until somebody changes something: the reason, for people."""


class TlsRefused(Exception):  # noqa: N818 - it is what happened
    """The service is not who the URL says, or speaks no TLS that we take: the reason, for people."""


class Connection:
    """Sends one request at a time; connects when it must, and keeps the connection."""

    def __init__(self, spec: RemoteOptions, url: str, tls: ssl.SSLContext | None) -> None:
        self._spec = spec
        self._ended = threading.Event()
        self._sockets = Sockets(self._ended)
        self._pool = _pool(url, tls, self._sockets, http2=spec.wants_http2)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: Body, *, seconds: float) -> Answer:
        """The answer, whatever its status. Raises BrokenConnection, Unreachable or TlsRefused.

        `seconds` is all the time that there is, from connecting to the answer's last byte.
        """
        self._sockets.deadline = time.monotonic() + seconds
        # Not the time between two bytes: the socket below looks at the deadline.
        connect = min(self._spec.connect_seconds, seconds)
        timeouts = {"connect": connect, "pool": connect, "read": seconds, "write": seconds}
        sent = {**headers, "host": urlsplit(url).netloc, "content-length": str(body.size)}
        # HTTP/2 cuts it into frames, which takes bytes.
        content: Any = body.whole() if self._spec.wants_http2 else self._sockets.send(body.parts)
        with (
            _failures(self._ended, seconds),
            self._pool.stream(
                method, url, headers=list(sent.items()), content=content, extensions={"timeout": timeouts}
            ) as response,
        ):
            parts, size = [], 0
            for part in response.iter_stream():
                parts.append(part)
                size += len(part)
                if size > _MOST_ANSWER_BYTES:
                    raise ServiceError(
                        f"the answer is longer than {_MOST_ANSWER_BYTES:,} bytes, and cannot be predictions"
                    )
            return Answer(
                response.status,
                {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
                b"".join(parts),
                response.extensions["http_version"].decode("ascii"),
            )

    @property
    def is_ended(self) -> bool:
        """Whether nothing can be sent by it any more."""
        return self._ended.is_set()

    def end(self) -> None:
        """End whatever is under way, for good; called from any thread."""
        self._ended.set()
        self._sockets.shut_down()

    def close(self) -> None:
        """Close the connection; called once nothing is under way."""
        self._pool.close()


@contextmanager
def _failures(ended: threading.Event, seconds: float) -> Iterator[None]:
    try:
        yield
    except TlsError as error:
        raise TlsRefused(str(error)) from error
    except httpcore.TimeoutException as error:
        what = (
            "no connection" if isinstance(error, (httpcore.ConnectTimeout, httpcore.PoolTimeout)) else "no whole answer"
        )
        raise BrokenConnection(f"{what} within {seconds:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        if ended.is_set():
            raise BrokenConnection("stopped") from error
        lasting = _refusal_of_proxy(error) if isinstance(error, httpcore.ProxyError) else lasting_reason(error)
        if lasting is not None:
            raise Unreachable(lasting) from error
        raise BrokenConnection(first_line(error)) from error


def _refusal_of_proxy(error: httpcore.ProxyError) -> str | None:
    """Why the proxy will not let a request through, now or later; None where it could not reach the service (5xx)."""
    said = first_line(error)
    if not re.match(r"4\d\d\b", said) or said[:3] in ("408", "429"):
        return None
    return f"the proxy refuses the way there ({said}); correct HTTPS_PROXY and its user and password, or NO_PROXY"


def _pool(url: str, tls: ssl.SSLContext | None, sockets: Sockets, *, http2: bool) -> httpcore.ConnectionPool:
    """One connection, by way of the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name."""
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "ssl_context": tls,
        "max_connections": 1,
        "http2": http2,
        "network_backend": sockets,
        "keepalive_expiry": 60.0,
    }
    proxy = getproxies().get(parts.scheme)
    if proxy is None or parts.hostname is None or is_loopback(parts.hostname) or proxy_bypass(parts.hostname):
        return httpcore.ConnectionPool(**options)
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if via.scheme != "http" or via.hostname is None:
        raise SpecError(f"the proxy for {parts.scheme} is no http:// URL; correct {parts.scheme.upper()}_PROXY")
    sign_in = (unquote(via.username), unquote(via.password or "")) if via.username else None
    return httpcore.HTTPProxy(f"http://{via.hostname}:{via.port or 80}", proxy_auth=sign_in, **options)
