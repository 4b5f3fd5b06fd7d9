"""Which format a request has: its Content-Type says JSON or Arrow, and JSON says the rest itself."""

from typing import Any

import orjson

from onnx_pipeline.serving.formats import arrow, input_data, records, rows
from onnx_pipeline.serving.formats.asked import Answer, Asked, Format
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["ARROW_TYPE", "JSON_TYPE", "format_of", "parsed"]

ARROW_TYPE = arrow.MEDIA_TYPE
JSON_TYPE = "application/json"


def format_of(content_type: str | None) -> tuple[str, Format]:
    """Name and format for a Content-Type; none counts as JSON, as what curl sends with -d does not. Raises Refusal."""
    bare = (content_type or JSON_TYPE).partition(";")[0].strip().lower()
    if bare == ARROW_TYPE:
        return "arrow", arrow.answer
    if bare == JSON_TYPE or (bare.startswith("application/") and bare.endswith("+json")):
        return "json", json_answer
    raise Refusal(415, "content_type_unknown", f"send Content-Type: {JSON_TYPE} or {ARROW_TYPE}")


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
        400, "shape_unknown", 'send a list of records, {"data": [records or rows]}, or {"input_data": {"columns": [...], '
        '"index": [...], "data": [[...]]}}',
    )  # fmt: skip


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The JSON in a body; Refusal, naming the place, where there is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Its own text may quote the body; line and column do not.
        raise Refusal(
            400, "not_json", f"the body is not JSON: it goes wrong at line {error.lineno}, column {error.colno}; NaN and "
            "Infinity are no JSON, null stands for a missing number",
        ) from None  # fmt: skip
