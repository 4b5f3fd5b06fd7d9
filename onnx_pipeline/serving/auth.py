"""API keys: where they come from, and how a request's is compared."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hosts import is_loopback
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["KEYS", "KEYS_FILE", "Guard", "keys_from_environment", "read_keys_file"]

KEYS = "ONNX_PIPELINE_SERVE_KEYS"
KEYS_FILE = "ONNX_PIPELINE_SERVE_KEYS_FILE"
_BEARER = b"bearer "


def keys_from_environment(environment: Mapping[str, str] | None = None) -> frozenset[str]:
    """The keys in ONNX_PIPELINE_SERVE_KEYS, parted by spaces or commas, and in ONNX_PIPELINE_SERVE_KEYS_FILE.

    Raises SpecError for a file that cannot be read or holds none.
    """
    given = os.environ if environment is None else environment
    keys = frozenset(given.get(KEYS, "").replace(",", " ").split())
    path = given.get(KEYS_FILE, "").strip()
    return keys | read_keys_file(Path(path)) if path else keys


def read_keys_file(path: Path) -> frozenset[str]:
    """The keys of a file, one a line; empty lines and lines that start with # are none. Raises SpecError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SpecError(f"the file of API keys {path} cannot be read ({error.strerror}); correct the path") from error
    keys = frozenset(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not keys:
        raise SpecError(f"the file of API keys {path} holds no key; write one a line")
    return keys


class Guard:
    """Says whether a request may come in."""

    def __init__(self, keys: Iterable[str], *, trust_host: bool = False) -> None:
        # Digests are of one length, so comparing them tells nothing about the length of a key.
        self._digests = tuple(_digest(key.encode()) for key in keys)
        self._trust_host = trust_host

    def check(self, headers: Mapping[bytes, bytes], client: str | None) -> None:
        """Raises Refusal, 401, without a key that is one of ours; without keys, for a client that is not loopback."""
        if self._trust_host:
            return
        if not self._digests:
            if client is None or not is_loopback(client):
                raise Refusal(
                    401, "no_key_set", "this service has no API key set, so it answers its own machine only; set "
                    f"{KEYS} or {KEYS_FILE} where it runs",
                )  # fmt: skip
            return
        given = headers.get(b"x-functions-key")
        if given is None:
            authorization = headers.get(b"authorization", b"")
            if authorization[: len(_BEARER)].lower() == _BEARER:
                given = authorization[len(_BEARER) :].strip()
        if given is None:
            raise Refusal(
                401, "key_missing", "send an API key as `x-functions-key: <key>` or `Authorization: Bearer <key>`"
            )
        digest = _digest(given)
        # Every key is compared, whichever matches: the time says nothing about which one.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise Refusal(401, "key_unknown", "the API key is none of this service's")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
