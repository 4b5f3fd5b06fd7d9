"""Which format a request has: its Content-Type says JSON or Arrow, and JSON says the rest itself."""

import re

from onnx_pipeline.base.inference_protocol import ARROW_STREAM
from onnx_pipeline.serving.formats import arrow, input_data, records, rows, v2
from onnx_pipeline.serving.formats.asked import Answer, Asked, Format
from onnx_pipeline.serving.formats.json_text import parsed
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["JSON_TYPE", "check_v2", "format_of"]

JSON_TYPE = "application/json"
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}")


def format_of(content_type: str | None) -> tuple[str, Format]:
    """Name and format for a Content-Type; none counts as JSON, as what curl sends with -d does not. Raises Refusal."""
    bare = (content_type or JSON_TYPE).partition(";")[0].strip().lower()
    if bare == ARROW_STREAM:
        return "arrow", arrow.answer
    if bare == JSON_TYPE or (bare.startswith("application/") and bare.endswith("+json")):
        return "json", json_answer
    raise _unknown(bare, ARROW_STREAM)


def check_v2(content_type: str | None) -> None:
    """Raises Refusal for a Content-Type that is neither JSON nor, for binary data behind it, octets."""
    bare = (content_type or JSON_TYPE).partition(";")[0].strip().lower()
    if bare not in (JSON_TYPE, v2.BINARY_TYPE):
        raise _unknown(bare, v2.BINARY_TYPE)


def _unknown(bare: str, other: str) -> Refusal:
    # What a client sent comes back only where it is a media type.
    found = f"the Content-Type is {bare}; " if _MEDIA_TYPE.fullmatch(bare) else ""
    return Refusal(415, "content_type_unknown", f"{found}send Content-Type: {JSON_TYPE} or {other}")


def json_answer(asked: Asked) -> Answer:
    """Any of the JSON shapes."""
    payload = parsed(asked.body)
    if isinstance(payload, list):
        return records.answer(asked, payload)
    if isinstance(payload, dict):
        if "data" in payload:
            return rows.answer(asked, payload["data"])
        if "input_data" in payload:
            return input_data.answer(asked, payload["input_data"])
    raise Refusal(
        400, "shape_unknown", 'send a list of records, {"data": [records or rows]}, or {"input_data": {"columns": '
        '[...], "index": [...], "data": [[...]]}}',
    )  # fmt: skip
