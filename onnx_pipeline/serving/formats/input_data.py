"""Azure ML's `{"input_data": {"columns", "index", "data"}}` → `{"output_data": {"columns", "index", "data"}}`."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import orjson

from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.columns import matched
from onnx_pipeline.serving.formats.predictions import predicted
from onnx_pipeline.serving.formats.rows import checked_rows
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["answer"]


def answer(asked: Asked, split: Any) -> Answer:
    """A split frame for a split frame, with the request's index."""
    if not isinstance(split, dict) or not isinstance(split.get("data"), list):
        raise Refusal(
            400, "input_data_misfit", 'write {"input_data": {"columns": [...], "index": [...], "data": [[...], ...]}}'
        )
    data = split["data"]
    given = split.get("columns")
    if given is None:
        given = list(asked.served.columns)
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise Refusal(400, "columns_misfit", '"columns" is no list of names')
    index = split.get("index")
    if index is None:
        index = list(range(len(data)))
    if not isinstance(index, list) or len(index) != len(data):
        raise Refusal(400, "index_misfit", f'"index" is no list of {len(data)} values, one per row of "data"')
    found = list(zip(*predicted(asked, _ordered(asked, given, checked_rows(data, given))), strict=True))
    output = {"columns": asked.served.output_names, "index": index, "data": found}
    return Answer(orjson.dumps({"output_data": output}), "application/json", len(found))


def _ordered(asked: Asked, given: list[str], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    names = matched(asked, given)
    if list(names) == given:
        return rows
    places = [given.index(name) for name in names]
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    pick = itemgetter(*places)
    return [pick(row) for row in rows]
