"""`[{"age": 40, ...}, ...]` → `[{"prediction": 1.5}, ...]`, also inside `{"data": ...}`."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import orjson

from onnx_pipeline.serving.formats.asked import Answer, Asked
from onnx_pipeline.serving.formats.columns import matched
from onnx_pipeline.serving.formats.predictions import predicted
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["answer", "answer_inside"]


def answer(asked: Asked, records: list[Any]) -> Answer:
    """A list of records for a list of records."""
    found = _scored(asked, records)
    return Answer(orjson.dumps(found), "application/json", len(found))


def answer_inside(asked: Asked, records: list[Any]) -> Answer:
    """The same for `{"data": records}`."""
    found = _scored(asked, records)
    return Answer(orjson.dumps({"data": found}), "application/json", len(found))


def _scored(asked: Asked, records: list[Any]) -> list[dict[str, Any]]:
    columns = predicted(asked, _rows(asked, records))
    names = asked.served.output_names
    if len(names) == 1:
        (name,) = names
        return [{name: value} for value in columns[0]]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _rows(asked: Asked, records: list[Any]) -> Sequence[Sequence[Any]]:
    if not records:
        return []
    kinds = set(map(type, records))
    if kinds != {dict}:
        row = next(number for number, record in enumerate(records) if type(record) is not dict)
        raise Refusal(
            400, "record_expected", f"row {row} is no record; write each row as an object, "
            '{"column": value}, or rows of values as {"data": [[...]]}', row=row,
        )  # fmt: skip
    names = matched(asked, list(records[0]), row=0)
    # itemgetter gives no tuple for one name.
    pick: Callable[[Any], Any] = itemgetter(*names) if len(names) > 1 else lambda record: (record[names[0]],)
    try:
        return list(map(pick, records))
    except KeyError:
        for number, record in enumerate(records):
            for name in names:
                if name not in record:
                    raise Refusal(
                        400, "column_missing", f"row {number} lacks the column {name!r}; null stands for a missing "
                        "number",
                        column=name, row=number,
                    ) from None  # fmt: skip
        raise
