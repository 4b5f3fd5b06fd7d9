"""One HTTP connection: HTTP/2 where it is offered, one deadline per request, and an end that comes at once.

httpcore speaks the protocols. The socket is ours, for two reasons. Timeouts of HTTP clients hold for each read, so a
service that sends a byte now and then is waited for without end; and a read that waits in one thread can be ended from
another only by shutting its socket down.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from onnx_pipeline.engine_spec import EngineSpec, is_loopback
from onnx_pipeline.errors import ServiceError, SpecError

__all__ = ["Answer", "BrokenConnection", "Connection", "TlsRefused"]

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


class TlsRefused(Exception):  # noqa: N818 - it is what happened
    """The service is not who the URL says, or speaks no TLS that we take: the reason, for people."""


class Connection:
    """Sends one request at a time; connects when it must, and keeps the connection."""

    def __init__(self, spec: EngineSpec, url: str, tls: ssl.SSLContext | None) -> None:
        self._spec = spec
        self._ended = threading.Event()
        self._backend = _Backend(self._ended)
        self._pool = _pool(url, tls, self._backend, http2=spec.wants_http2)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float) -> Answer:
        """The answer, whatever its status. Raises BrokenConnection or TlsRefused.

        `seconds` is all the time that there is, from connecting to the answer's last byte.
        """
        self._backend.deadline = time.monotonic() + seconds
        # Not the time between two bytes: the socket below looks at the deadline.
        connect = min(self._spec.connect_seconds, seconds)
        timeouts = {"connect": connect, "pool": connect, "read": seconds, "write": seconds}
        sent = {**headers, "host": urlsplit(url).netloc, "content-length": str(len(body))}
        with (
            _failures(self._ended, seconds),
            self._pool.stream(
                method, url, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
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

    def end(self) -> None:
        """End whatever is under way; called from any thread."""
        self._ended.set()
        self._backend.shut_down()

    def close(self) -> None:
        """Close the connection; called once nothing is under way."""
        self._pool.close()


class _TlsError(httpcore.ConnectError):
    """The handshake failed."""


class _Stream(httpcore.NetworkStream):
    """A socket whose reads and writes end at the deadline."""

    def __init__(self, sock: socket.socket, backend: "_Backend") -> None:
        self._sock = sock
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(self._backend.left(timeout))
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            # The timeout of sendall is for all of it, not for each part.
            self._sock.settimeout(self._backend.left(timeout))
            self._sock.sendall(buffer)

    def close(self) -> None:
        self._backend.forget(self._sock)
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError, tls=_TlsError):
                self._sock.settimeout(self._backend.left(timeout))
                wrapped = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        self._backend.forget(self._sock)
        self._backend.remember(wrapped)
        return _Stream(wrapped, self._backend)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            # httpcore asks it for the protocol that was agreed on.
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "is_readable":
            # What comes before a request is the service's goodbye.
            return _readable(self._sock)
        return self._sock if info == "socket" else None


def _readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class _Backend(httpcore.NetworkBackend):
    """Makes the sockets of one connection, and knows them."""

    def __init__(self, ended: threading.Event) -> None:
        self.deadline = 0.0
        self._ended = ended
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def left(self, timeout: float | None) -> float:
        """Seconds that a step may still take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(left, timeout)

    def remember(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
        if self._ended.is_set():
            self.shut_down()

    def forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)

    def shut_down(self) -> None:
        with self._lock:
            for sock in self._sockets:
                # It may have been closed by the other side.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            sock = socket.create_connection((host, port), self.left(timeout))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Routers before Azure drop connections that are silent for 4 minutes.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.remember(sock)
        return _Stream(sock, self)


@contextmanager
def _mapped(timeout: type[Exception], failure: type[Exception], tls: type[Exception] | None = None) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise failure("the connection was cut") from error
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", "") or error.reason or str(error)
        raise (tls or failure)(said) from error
    except OSError as error:
        raise failure(error.strerror or str(error)) from error


@contextmanager
def _failures(ended: threading.Event, seconds: float) -> Iterator[None]:
    try:
        yield
    except _TlsError as error:
        raise TlsRefused(str(error)) from error
    except httpcore.TimeoutException as error:
        what = (
            "no connection" if isinstance(error, (httpcore.ConnectTimeout, httpcore.PoolTimeout)) else "no whole answer"
        )
        raise BrokenConnection(f"{what} within {seconds:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        if ended.is_set():
            raise BrokenConnection("stopped") from error
        raise BrokenConnection(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """What broke, in the words of the system."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _pool(url: str, tls: ssl.SSLContext | None, backend: _Backend, *, http2: bool) -> httpcore.ConnectionPool:
    """One connection, by way of the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name."""
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "ssl_context": tls,
        "max_connections": 1,
        "http2": http2,
        "network_backend": backend,
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
