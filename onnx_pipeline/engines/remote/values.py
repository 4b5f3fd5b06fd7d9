"""Values of a JSON answer as Arrow columns: nothing is guessed, and nothing cast that would change."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from onnx_pipeline.base.arrow import from_numpy
from onnx_pipeline.base.json_keys import key_twice
from onnx_pipeline.engines.remote.wire import BadAnswer
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["column_of", "parsed"]

_NONE = type(None)


def parsed(body: bytes) -> Any:
    """The JSON of an answer; also with NaN and Infinity, and as the text of a text, as many score.py's return it."""
    answer = _parsed(body)
    return _parsed(answer.encode()) if isinstance(answer, str) else answer


def _parsed(body: bytes) -> Any:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"its body is no JSON ({error})") from error
    try:
        twice = key_twice(body, answer)
    except RecursionError as error:
        raise BadAnswer("its body is nested too deep for predictions") from error
    if twice is not None:
        raise BadAnswer(f"its body has the key {twice.key[:128]!r} twice in one object")
    return answer


def _whole(values: Sequence[Any]) -> list[int | None]:
    """Floats without a fraction as integers: Arrow itself would cut a fraction off."""
    fraction = next((value for value in values if type(value) is float and not value.is_integer()), None)
    if fraction is not None:
        raise ValueError(f"{fraction!r} has a fraction")
    return [None if value is None else int(value) for value in values]


def column_of(values: Sequence[Any], column: OutputColumn) -> pa.Array:
    """Values as they came → `[N]` of the column's type; null is NULL. Raises BadAnswer for other types."""
    kinds = set(map(type, values))
    arrow = column.arrow
    try:
        if pa.types.is_floating(arrow) and kinds <= {float, int, _NONE}:
            # A double beyond float32's range becomes infinite, which the pipeline's own check finds.
            with np.errstate(over="ignore"):
                array = from_numpy(np.array(values, dtype=np.float64).astype(arrow.to_pandas_dtype()))
            return pa.array(values, type=arrow) if _NONE in kinds else array
        if pa.types.is_integer(arrow) and kinds <= {float, int, _NONE}:
            return pa.array(_whole(values) if float in kinds else values, type=arrow)
        if (pa.types.is_boolean(arrow) and kinds <= {bool, _NONE}) or (
            pa.types.is_string(arrow) and kinds <= {str, _NONE}
        ):
            return pa.array(values, type=arrow)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise BadAnswer(f"a value of {column.name!r} is no {arrow} ({error})") from error
    found = ", ".join(sorted(kind.__name__.replace("NoneType", "null") for kind in kinds))
    raise BadAnswer(f"the values of {column.name!r} are {found}, not {arrow}")
