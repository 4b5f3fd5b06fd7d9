"""How the engine signs in, and how the secret stays out of every message."""

import os
import threading
from urllib.parse import quote

from onnx_pipeline.base.errors import ServiceError, SpecError
from onnx_pipeline.spec.engines.remote import AuthSpec

__all__ = ["SignIn"]


class SignIn:
    """The headers of a sign-in. The key comes from the environment, once."""

    def __init__(self, auth: AuthSpec | None) -> None:
        """Raises SpecError where the environment lacks the key."""
        self._auth = auth
        self._lock = threading.Lock()
        self._key = _key(auth.env) if auth is not None and auth.env is not None else None

    def headers(self) -> dict[str, str]:
        """Of one request. Raises ServiceError where no token is to be had."""
        if self._auth is None:
            return {}
        if self._auth.kind == "function_key":
            return {"x-functions-key": str(self._key)}
        if self._auth.kind == "entra":
            # The credential keeps the token until shortly before it expires; one thread at a time, so that one asks.
            with self._lock:
                self._key = _token(str(self._auth.scope))
        return {"authorization": f"Bearer {self._key}"}

    def redacted(self, text: str) -> str:
        """`text` without the secret, should a service repeat it."""
        for form in {self._key or "", quote(self._key or "", safe="")} - {""}:
            text = text.replace(form, "***")
        return text

    @property
    def remedy(self) -> str:
        """What to do where the service refuses the sign-in."""
        if self._auth is None:
            return "Say how to sign in: `auth: {kind: function_key, env: ...}`, or `bearer`, or `entra`."
        if self._auth.kind == "entra":
            return f"Grant this identity access to the service, and check the scope {self._auth.scope}."
        return f"Check the key in {self._auth.env}: it may have been rotated, or be another service's."


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SpecError(
            f"the environment variable {variable}, which `auth` names, is not set, so no request can be signed; set it "
            "to the service's key where the runs are executed"
        )
    if not key.isascii() or not key.isprintable():
        raise SpecError(f"the environment variable {variable} holds characters that no key has; set it again")
    return key


def _token(scope: str) -> str:
    from onnx_pipeline.azure.account import default_credential, no_token

    credential = default_credential()
    from azure.core.exceptions import ClientAuthenticationError

    try:
        return str(credential.get_token(scope).token)
    except ClientAuthenticationError as error:
        raise ServiceError(no_token(scope, error)) from None
