"""What the status of an answer means: predictions, another try, or an error that says what to do."""

import email.utils
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from onnx_pipeline.base.errors import DataError, OnnxPipelineError, ServiceError
from onnx_pipeline.base.inference_protocol import ROW_CODES
from onnx_pipeline.engines.remote.auth import SignIn
from onnx_pipeline.engines.remote.connection import Answer
from onnx_pipeline.spec.engines.remote import RemoteOptions

__all__ = ["described", "passes", "refused", "retry_after"]

_PASSING = frozenset({408, 425, 429})
_LASTING = frozenset({501, 505})
"""Of the server's own errors: what it cannot do at all, it cannot do later."""
_SHOWN = 300


def passes(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status in _PASSING or (status >= 500 and status not in _LASTING)


def refused(answer: Answer, where: str, spec: RemoteOptions, sign_in: SignIn, wanted: str | None) -> OnnxPipelineError:
    """The error for a status that another try would meet again: a DataError where it is about a row of this request."""
    said, status = described(answer, sign_in), answer.status
    if _code(answer) in ROW_CODES:
        return DataError(
            f"{where} refused a row: {said}. Nothing of its partition was staged or loaded; filter or repair such rows "
            "in the source query"
        )
    if status in (401, 403):
        return ServiceError(f"{where} refused the sign-in: {said}. {sign_in.remedy}")
    if status == 409:
        return ServiceError(
            f"{where} serves another model than {wanted or 'the one wanted'}: {said}. Nothing was staged or "
            "loaded. Bring the service and `onnx` to the same model, then materialize the model asset again."
        )
    if 300 <= status < 400:
        return ServiceError(
            f"{where} redirects (HTTP {status}), and a sign-in is not sent elsewhere. Write the URL that it "
            f"redirects to as `url`{', with https://' if spec.url.startswith('http://') else ''}."
        )
    if status == 404:
        return ServiceError(f"{where} has nothing there: {said}. Correct `url`; it names the model too.")
    if status == 415:
        return ServiceError(f"{where} does not take `{spec.wire}`: {said}. Choose another `wire`.")
    return ServiceError(
        f"{where} refused the rows: {said}. Nothing was staged or loaded. Check that `features` and the columns' "
        "types are those of the model that it serves."
    )


def _code(answer: Answer) -> str | None:
    """What a service of ours calls the refusal: within `error`, or beside it where that is text."""
    said = _said(answer)
    for place in (said, said.get("error")) if isinstance(said, dict) else ():
        if isinstance(place, dict) and isinstance(place.get("code"), str):
            return str(place["code"])
    return None


def _said(answer: Answer) -> Any:
    text = answer.body[:65_536].decode("utf-8", "replace").strip()
    try:
        return json.loads(text)
    except ValueError:
        return text


def described(answer: Answer, sign_in: SignIn) -> str:
    """Status and message of an answer that is none, short and without the key."""
    said = _said(answer)
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    line = " ".join(str(said).split())
    shown = sign_in.redacted(line)[:_SHOWN]
    return f"HTTP {answer.status}{f': {shown}' if shown else ''}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header Retry-After asks to wait, as a number or a date (RFC 9110); None without one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(tz=timezone.utc)).total_seconds())
