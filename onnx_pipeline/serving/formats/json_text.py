"""JSON, and where it goes wrong."""

from typing import Any

import orjson

from onnx_pipeline.serving.refusals import Refusal

__all__ = ["parsed"]


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The JSON in a body; Refusal, naming the place, where there is none."""
    if not body:
        raise Refusal(400, "not_json", "the body is empty; send the rows as JSON")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Its own text may quote the body; line and column do not.
        raise Refusal(
            400, "not_json", f"the body is not JSON: it goes wrong at line {error.lineno}, column {error.colno}; NaN "
            "and Infinity are no JSON, null stands for a missing number",
        ) from None  # fmt: skip
