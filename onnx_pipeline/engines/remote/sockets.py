"""The sockets of one connection: reads and writes that end at a deadline, and an end from any thread."""

import contextlib
import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpcore
from typing_extensions import Self

__all__ = ["Sockets", "TlsError"]


class TlsError(httpcore.ConnectError):
    """The handshake failed."""


class _TlsSocket(ssl.SSLSocket):
    """A socket that is closed where its connection has ended before the handshake.

    Python's own stays open then until the garbage collector comes by, or says that it is there and has no handshake
    (CPython's `SSLSocket._create`).
    """

    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "the connection ended before the handshake") from error


class _Stream(httpcore.NetworkStream):
    """A socket whose reads and writes end at the deadline."""

    def __init__(self, sock: socket.socket, owner: "Sockets") -> None:
        self._sock = sock
        self._owner = owner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(self._owner.left(timeout))
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes | memoryview, timeout: float | None = None) -> None:
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            # The timeout of sendall is for all of it, not for each part.
            self._sock.settimeout(self._owner.left(timeout))
            self._sock.sendall(buffer)

    def close(self) -> None:
        self._owner.forget(self._sock)
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        ssl_context.sslsocket_class = _TlsSocket
        self._owner.forget(self._sock)
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError, tls=TlsError):
            self._sock.settimeout(self._owner.left(timeout))
            wrapped = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            # Before the handshake, which another thread may end as well.
            self._owner.remember(wrapped)
            stream = self._owner.stream = _Stream(wrapped, self._owner)
            try:
                wrapped.do_handshake()
            except BaseException:
                stream.close()
                raise
        return stream

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


class _Sent(bytes):
    """In place of bytes that were sent: it is as long as they are, by which h11 counts, and there is nothing in it."""

    size: int

    def __new__(cls, size: int) -> Self:
        made = super().__new__(cls)
        made.size = size
        return made

    def __len__(self) -> int:
        return self.size


class Sockets(httpcore.NetworkBackend):
    """Makes the sockets of one connection, and knows them."""

    def __init__(self, ended: threading.Event) -> None:
        self.deadline = 0.0
        self._ended = ended
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.stream: _Stream | None = None
        """The one that was made last, and by which a request goes."""

    def left(self, timeout: float | None) -> float:
        """Seconds that a step may still take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(left, timeout)

    def send(self, parts: Sequence[bytes | memoryview]) -> Iterator[bytes]:
        """A request's body for httpcore: as it is asked for it is sent, from where it lies.

        h11 joins the bytes that it is given, which for anything but `bytes` is a copy into fresh memory: of a million
        rows of 27 columns an eighth of what the client did.
        """
        stream = self.stream
        assert stream is not None, "the headers went out by it"
        for part in parts:
            stream.write(part)
        yield _Sent(sum(map(len, parts)))

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
        self.stream = _Stream(sock, self)
        return self.stream


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
