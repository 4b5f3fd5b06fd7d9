"""Scoring requests: sign-in, tries and waits, and splitting what is too large."""

import logging
import random
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import DataError, ServiceError, ServiceUnavailableError, SpecError
from onnx_pipeline.base.inference_protocol import SHA256_HEADER
from onnx_pipeline.engines.remote.auth import SignIn
from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.connection import Answer, BrokenConnection, Connection, TlsRefused, Unreachable
from onnx_pipeline.engines.remote.service import Service, service_of
from onnx_pipeline.engines.remote.statuses import described, passes, refused, retry_after
from onnx_pipeline.engines.remote.traffic import Traffic
from onnx_pipeline.engines.remote.wire import BadAnswer, Wire
from onnx_pipeline.spec.engines.remote import RemoteOptions

__all__ = ["Client", "Stopped"]

_NOTHING = Body((), 0)
_FIRST_WAIT_SECONDS = 0.5
_MOST_WAIT_SECONDS = 30.0
_SAY_EVERY_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Another request failed, or the run was ended: this one was given up."""


class Client:
    """Sends requests to one service, from several threads, each on a connection of its own."""

    def __init__(
        self, spec: RemoteOptions, *, sha256: str | None = None, say: Callable[[str], None] = _logger.warning
    ) -> None:
        """`sha256` is the model that has to answer; None takes whichever answers first, and then only that one.

        Raises SpecError for an environment or a file of authorities that cannot work.
        """
        self._spec = spec
        self._url = spec.url
        self._say = say
        self._said: float | None = None
        self._sign_in = SignIn(spec.auth)
        self._tls = _tls(spec)
        self._service: Service = service_of(self._url)
        self._wanted = sha256
        self._first: tuple[str | None] | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self.traffic = Traffic()

    @property
    def answered_sha256(self) -> str | None:
        """The model that the answers so far state; None where they state none."""
        return self._first[0] if self._first is not None else None

    def score(self, wire: Wire, columns: Sequence[pa.Array], rows: int, headers: Mapping[str, str]) -> list[pa.Array]:
        """Predictions of some rows, in as many requests as their size takes.

        Raises ServiceError or ServiceUnavailableError; Stopped once `stop` was called.
        """
        body = wire.encode(columns, rows)
        if body.size <= self._spec.batch_bytes:
            sent = {**headers, "content-type": wire.content_type, "accept": wire.content_type}
            answer = self.request("POST", self._url, sent, body)
            if answer.status != 413:
                return self._decoded(wire, answer, rows)
        size = f"{body.size:,} bytes"
        del body
        if rows == 1:
            raise DataError(
                f"one row takes {size} as `{self._spec.wire}`, which is more than `batch_bytes` "
                f"({self._spec.batch_bytes:,}) or than {self._url} takes; leave wide columns out of the model"
            )
        middle = rows // 2
        halves = (
            self.score(wire, [column[:middle] for column in columns], middle, headers),
            self.score(wire, [column[middle:] for column in columns], rows - middle, headers),
        )
        return [pa.concat_arrays(parts) for parts in zip(*halves, strict=True)]

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body = _NOTHING, *, retries: int | None = None
    ) -> Answer:
        """The first answer that another try could not better: 200, or 413. Raises as `score` does."""
        most = self._spec.retries if retries is None else retries
        request_id = uuid.uuid4().hex
        sent = {**self._spec.headers, **headers, "x-request-id": request_id, "accept-encoding": "identity"}
        sent["user-agent"] = "onnx-pipeline"
        if self._wanted is not None:
            sent[SHA256_HEADER] = self._wanted
        for tried in range(most + 1):
            outcome = self._tried(method, url, sent, body)
            if isinstance(outcome, Answer):
                if outcome.status in (200, 413):
                    return outcome
                if not passes(outcome.status):
                    raise refused(outcome, f"{url} (request {request_id})", self._spec, self._sign_in, self._wanted)
                why, wait = described(outcome, self._sign_in), retry_after(outcome.headers)
            else:
                why, wait = outcome, None
            short = f"HTTP {outcome.status}" if isinstance(outcome, Answer) else outcome
            self.traffic.failed(short, sent=body.size)
            if tried == most:
                break
            self._wait(tried, wait, f"{url}: {why}", most)
        raise ServiceUnavailableError(
            f"{url} gave no answer of use in {most + 1} tries, the last time: {why} (request {request_id}). Nothing "
            "was staged or loaded. Look at the service's own log; one that is slow rather than down wants smaller "
            "requests (`batch_rows`), fewer at a time (`in_flight`), or more time (`request_seconds`)."
        )

    def _tried(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Answer | str:
        """One try: its answer, or why there is none."""
        signed = {**headers, **self._sign_in.headers()}
        with self._service.asking(self._stopped):
            started = time.monotonic()
            try:
                with self._connection() as connection:
                    answer = connection.request(method, url, signed, body, seconds=self._spec.request_seconds)
            except BrokenConnection as error:
                self._go_on()
                self._failed()
                return str(error)
            except Unreachable as error:
                raise ServiceError(f"{url} cannot be reached: {error}. Nothing was sent to it.") from None
            except TlsRefused as error:
                raise ServiceError(
                    f"{url} cannot be trusted: {error}. Nothing was sent to it. Check the URL and the service's "
                    "certificate; where a private authority vouches for it, name that in `ca_file`."
                ) from None
            if answer.status < 500:
                self._service.succeeded()
            else:
                self._failed()
            if answer.status == 200 and method == "POST":
                self.traffic.answered(
                    seconds=time.monotonic() - started,
                    sent=body.size,
                    received=len(answer.body),
                    protocol=answer.protocol,
                )
        return answer

    def start(self) -> None:
        """Requests may go out, of a slice whose traffic is counted anew; called once none of another is under way."""
        self._stopped.clear()
        self.traffic = Traffic()

    def stop(self) -> None:
        """Give up everything that is under way or waits, until `start`; called from any thread."""
        self._stopped.set()
        with self._lock:
            for connection in self._busy:
                connection.end()

    def close(self) -> None:
        """Close the connections; called once no request is under way."""
        with self._lock:
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """One that nobody else uses meanwhile; the one used last is the likeliest to be open still."""
        with self._lock:
            connection = self._idle.pop() if self._idle else Connection(self._spec, self._url, self._tls)
            self._busy.add(connection)
        try:
            self._go_on()
            yield connection
        finally:
            with self._lock:
                self._busy.discard(connection)
                if not connection.is_ended:
                    self._idle.append(connection)
            if connection.is_ended:
                connection.close()

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    def _failed(self) -> None:
        self._service.failed(most=self._spec.breaker_failures, seconds=self._spec.breaker_seconds)

    def _wait(self, tried: int, asked: float | None, why: str, most: int) -> None:
        """Growing waits with jitter, so that requests that failed together do not come back together."""
        growing = min(_MOST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**tried) * random.uniform(0.5, 1.0)  # noqa: S311
        wait = growing if asked is None else asked + random.uniform(0.0, 0.1) * growing  # noqa: S311
        if asked is not None:
            self._service.asked_to_wait(wait)
        if self._may_say():
            self._say(f"{why}; sent again in {wait:.1f} s (try {tried + 2} of {most + 1})")
        if asked is None and self._stopped.wait(wait):
            raise Stopped

    def _may_say(self) -> bool:
        """Whether the last word was long enough ago: several requests fail for one reason."""
        now = time.monotonic()
        with self._lock:
            if self._said is not None and now - self._said < _SAY_EVERY_SECONDS:
                return False
            self._said = now
        return True

    def _decoded(self, wire: Wire, answer: Answer, rows: int) -> list[pa.Array]:
        self._check_model(answer)
        try:
            return wire.decode(answer.body, rows)
        except BadAnswer as error:
            raise ServiceError(
                f"{self._url} answered what cannot be the predictions: {self._sign_in.redacted(str(error))}. Nothing "
                f"was staged or loaded. Check that the service serves this model, and that it speaks the wire "
                f"`{self._spec.wire}`."
            ) from None

    def _check_model(self, answer: Answer) -> None:
        stated = answer.headers.get(SHA256_HEADER, "").strip().lower() or None
        if self._wanted is not None and stated is not None and stated != self._wanted:
            raise ServiceError(
                f"{self._url} scored with model {stated[:64]}, and {self._wanted} was asked for. Nothing was staged or "
                "loaded. Bring the service and `onnx` to the same model, then materialize the model asset again."
            )
        if stated is None and self._spec.skip_unread:
            raise ServiceError(
                f"{self._url} does not state which model it has, so columns that {(self._wanted or '')[:12]} does not "
                "read may move the predictions of another one there. Nothing was staged or loaded. Take `skip_unread` "
                "out of the engine, and every column is sent."
            )
        with self._lock:
            if self._first is None:
                self._first = (stated,)
            (first,) = self._first
        if first != stated:
            raise ServiceError(
                f"{self._url} changed its model while a partition was scored, from {first or 'one it did not state'} "
                f"to {stated or 'one it does not state'}. Nothing of the partition was staged or loaded; run it again."
            )


def _tls(spec: RemoteOptions) -> ssl.SSLContext | None:
    if not spec.url.startswith("https://"):
        return None
    if spec.ca_file is None:
        return ssl.create_default_context()
    path = paths.resolve(spec.ca_file)
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise SpecError(f"the file of authorities {path}, which `ca_file` names, cannot be used: {error}") from error
