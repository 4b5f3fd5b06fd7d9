"""One request and its answer, seen from the outside: identity, headers, and how an answer is sent."""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Scope, Send

from onnx_pipeline.base.inference_protocol import SHA256_HEADER
from onnx_pipeline.serving.refusals import Refusal
from onnx_pipeline.serving.straight_bodies import rest_of_body
from onnx_pipeline.serving.timeouts import within

__all__ = ["Exchange", "Reply"]

_SHA256 = SHA256_HEADER.encode()
_UNAUTHORIZED = 401
_PIECE = 256 * 1024
"""Bytes of an answer that are handed to the server at once."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, content: Any, status: int = 200) -> "Reply":
        """Anything that orjson writes."""
        return cls(status, orjson.dumps(content))


class Exchange:
    """What is known of a request while it is answered, for its log line and the metrics."""

    def __init__(self, scope: Scope) -> None:
        self.started = time.perf_counter()
        self.rest_of_body = rest_of_body(scope)
        # Azure Functions hands names on as they came; ASGI says that they are in lower case.
        self.headers: dict[bytes, bytes] = {name.lower(): value for name, value in scope["headers"]}
        given = self.headers.get(b"x-request-id", b"")
        self.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        self.method: str = scope["method"]
        below = scope["path"].removeprefix(scope.get("root_path", ""))
        self.is_v2 = below == "/v2" or below.startswith("/v2/")
        """Whether the client speaks the Open Inference Protocol, in which `error` is text, also where nothing lies."""
        self.route = "unknown"
        self.model = ""
        self.sha256: str | None = None
        self.format = ""
        self.rows = 0
        self.received = 0
        self.status = 0
        self.code: str | None = None
        self.error: str | None = None
        """The type of an exception that nobody foresaw."""

    def text(self, name: bytes) -> str | None:
        """A header as text; what is no Latin-1 text cannot come over HTTP."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def length(self) -> int | None:
        """What the request says that its body has, in bytes."""
        value = self.headers.get(b"content-length", b"")
        return int(value) if value.isdigit() else None

    @property
    def seconds(self) -> float:
        """Since the request arrived."""
        return time.perf_counter() - self.started

    def refusing(self, refusal: Refusal) -> Reply:
        """The answer that a refusal is."""
        self.code = refusal.code
        headers = {}
        if refusal.retry_after is not None:
            headers["retry-after"] = str(refusal.retry_after)
        if refusal.close:
            headers["connection"] = "close"
        if refusal.status == _UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if refusal.allow:
            headers["allow"] = refusal.allow
        body = refusal.body(self.request_id, flat=self.is_v2)
        return Reply(refusal.status, orjson.dumps(body), headers=headers)

    async def send(self, reply: Reply, send: Send, seconds: float) -> None:
        """Sends the answer. Raises TimeoutError where the client does not take it."""
        self.status = reply.status
        headers = [
            (b"content-type", reply.media_type.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", self.request_id.encode()),
        ]
        if reply.headers:
            headers += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
        if self.sha256 is not None:
            headers.append((_SHA256, self.sha256.encode()))
        await within(seconds, self._send(reply, headers, send))

    async def _send(self, reply: Reply, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        body = b"" if self.method == "HEAD" else reply.body
        # Piece by piece, because a server hands on what it is given and only waits before the next.
        for start in range(0, len(body) - _PIECE, _PIECE):
            await send({"type": "http.response.body", "body": body[start : start + _PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": body[_last(len(body)) :]})


def _last(size: int) -> int:
    """Where the last piece of an answer begins."""
    return max(0, (size - 1) // _PIECE * _PIECE)
