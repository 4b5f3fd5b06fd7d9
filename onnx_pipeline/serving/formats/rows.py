"""`{"data": [[40, ...], ...]}` → `{"columns": ["prediction"], "data": [[1.5], ...]}`.

Rows are in the order of the model's columns.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from onnx_pipeline.serving.formats import records
from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.predictions import predicted
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["answer", "checked_rows"]


def answer(asked: Asked, data: Any) -> Answer:
    """Rows for rows, records for records."""
    if not isinstance(data, list):
        raise Refusal(400, "data_misfit", '"data" is no list; write {"data": [[...], ...]} or {"data": [{...}, ...]}')
    if data and isinstance(data[0], dict):
        return records.answer_inside(asked, data)
    columns = predicted(asked, checked_rows(data, asked.served.columns))
    names = asked.served.output_names
    found = list(zip(*columns, strict=True))
    return Answer(orjson.dumps({"columns": names, "data": found}), "application/json", len(found))


def checked_rows(data: list[Any], columns: Sequence[str]) -> Sequence[Sequence[Any]]:
    """The rows, each a list of one value per column. Raises Refusal, naming the row, for one that is not."""
    width = len(columns)
    if set(map(type, data)) <= {list} and set(map(len, data)) <= {width}:
        return data
    for number, row in enumerate(data):
        if type(row) is not list:
            raise Refusal(
                400, "row_expected", f"row {number} is no list of values; write each row as [value, ...]", row=number
            )
        if len(row) != width:
            raise Refusal(
                400, "row_length", f"row {number} has {len(row)} values for {width} columns: {', '.join(columns[:60])}",
                row=number,
            )  # fmt: skip
    raise AssertionError("rows were refused, and every one of them fits")
