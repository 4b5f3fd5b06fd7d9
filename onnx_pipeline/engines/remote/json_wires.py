"""The JSON that people post to scoring endpoints today, and the answers that these give."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from onnx_pipeline.base.arrow import to_numpy
from onnx_pipeline.base.errors import DataError
from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.layout import Layout, numbers
from onnx_pipeline.engines.remote.values import column_of, parsed
from onnx_pipeline.engines.remote.wire import BadAnswer, Wire

__all__ = ["JSON_WIRES", "check_infinity", "values_of"]

_ENVELOPES = ("output_data", "predictions", "data", "outputs", "results", "result")


class JsonWire(Wire):
    """Rows as JSON. NaN travels as null; an answer's null is NULL."""

    content_type = "application/json"
    default_rows = 5_000

    def encode(self, columns: Sequence[pa.Array], rows: int) -> Body:
        check_infinity(columns, self.layout)
        return Body.of([orjson.dumps(self._body(columns, rows), option=orjson.OPT_SERIALIZE_NUMPY)])

    def _body(self, columns: Sequence[pa.Array], rows: int) -> Any:
        raise NotImplementedError

    def decode(self, body: bytes, rows: int) -> list[pa.Array]:
        return _columns(parsed(body), rows, self.layout)

    def _records(self, columns: Sequence[pa.Array]) -> list[dict[str, Any]]:
        names = self.layout.names
        return [dict(zip(names, row, strict=True)) for row in zip(*map(values_of, columns), strict=True)]


class RecordsWire(JsonWire):
    """`[{"age": 40, ...}, ...]`."""

    def _body(self, columns: Sequence[pa.Array], rows: int) -> Any:
        return self._records(columns)


class DataWire(JsonWire):
    """`{"data": [{"age": 40, ...}, ...]}`."""

    def _body(self, columns: Sequence[pa.Array], rows: int) -> Any:
        return {"data": self._records(columns)}


class InputDataWire(JsonWire):
    """`{"input_data": {"columns": [...], "index": [...], "data": [[...], ...]}}`, as Azure ML and MLflow take it."""

    def _body(self, columns: Sequence[pa.Array], rows: int) -> Any:
        data: Any
        if {column.type for column in columns} <= {pa.float32(), pa.float64()} and len({c.type for c in columns}) == 1:
            data = np.column_stack([numbers(column) for column in columns])
        else:
            data = list(zip(*map(values_of, columns), strict=True))
        return {"input_data": {"columns": self.layout.names, "index": list(range(rows)), "data": data}}


JSON_WIRES: dict[str, type[JsonWire]] = {"records": RecordsWire, "data": DataWire, "input_data": InputDataWire}


def check_infinity(columns: Sequence[pa.Array], layout: Layout) -> None:
    """Raises DataError for infinity: in JSON it would arrive as null, which is a missing value."""
    staged = [name for place in layout.inputs for name in place.staged]
    for column, name in zip(columns, staged, strict=True):
        if pa.types.is_floating(column.type) and len(column):
            values = to_numpy(column)
            with np.errstate(invalid="ignore"):
                # What lies under a NULL may say so falsely; then all are looked at.
                suspect = np.isinf(np.fmin.reduce(values)) or np.isinf(np.fmax.reduce(values))
            if suspect and np.isinf(numbers(column)).any():
                raise DataError(
                    f"column {name!r} holds infinity, for which JSON has no form: it would arrive as null, a missing "
                    "value. Take `wire: arrow`, or filter such rows in the source query"
                )


_SCALARS = {float, int, str, bool, type(None)}
"""Types of a JSON value that is no row."""


def values_of(column: pa.Array) -> list[Any]:
    """A column as Python values that orjson writes; a float16 goes as float32."""
    if pa.types.is_string(column.type):
        texts: list[Any] = column.to_pylist()
        return texts
    values: list[Any] = numbers(column).tolist()
    return values


def _columns(answer: Any, rows: int, layout: Layout) -> list[pa.Array]:
    """The wanted columns of an answer in any of the shapes that services give."""
    named: list[str] | None = None
    while isinstance(answer, dict):
        if isinstance(answer.get("columns"), list) and isinstance(answer.get("data"), list):
            named, answer = answer["columns"], answer["data"]
            break
        envelope = next((name for name in _ENVELOPES if name in answer), None)
        if envelope is None:
            raise BadAnswer(f"it is a JSON object with {_listed(answer)}, and none of {', '.join(_ENVELOPES)}")
        answer = answer[envelope]
    if not isinstance(answer, list):
        raise BadAnswer(f"it holds a {type(answer).__name__} where its rows should be")
    if len(answer) != rows:
        raise BadAnswer(f"it has {len(answer):,} rows for {rows:,} sent")
    kinds = set(map(type, answer))
    if kinds == {dict}:
        return _of_records(answer, layout)
    if kinds == {list}:
        return _of_rows(answer, named, layout)
    if kinds <= _SCALARS:
        return _of_rows([[value] for value in answer], named, layout)
    raise BadAnswer(f"its rows are of different kinds: {', '.join(sorted(kind.__name__ for kind in kinds))}")


def _of_records(records: list[dict[str, Any]], layout: Layout) -> list[pa.Array]:
    found = []
    for place in layout.wanted:
        column = layout.answered[place]
        try:
            values = [record[column.name] for record in records]
        except KeyError:
            lacking = next(record for record in records if column.name not in record)
            raise BadAnswer(f"a row has {_listed(lacking)}, and no {column.name!r}") from None
        found.append(column_of(values, column))
    return found


def _of_rows(rows: list[list[Any]], named: list[str] | None, layout: Layout) -> list[pa.Array]:
    """Rows under the answer's own column names; without names, the signature's columns in order, or its first ones."""
    widths = set(map(len, rows))
    if len(widths) > 1:
        raise BadAnswer(f"its rows have different lengths: {min(widths)} to {max(widths)}")
    width = widths.pop() if widths else len(layout.answered)
    if named is not None and len(named) != width:
        raise BadAnswer(f"it names {len(named)} columns, and its rows have {width}")
    if named is None and width > len(layout.answered):
        raise BadAnswer(f"its rows have {width} values, and the model has {len(layout.answered)} outputs")
    found = []
    for place in layout.wanted:
        column = layout.answered[place]
        if named is not None:
            if column.name not in named:
                raise BadAnswer(f"it has the columns {', '.join(map(str, named))}, and no {column.name!r}")
            index = named.index(column.name)
        elif place < width:
            index = place
        else:
            raise BadAnswer(f"its rows have {width} values, and {column.name!r} is the model's output {place + 1}")
        found.append(column_of([row[index] for row in rows], column))
    return found


def _listed(names: Any) -> str:
    texts = [str(name)[:40] for name in list(names)[:8]]
    return ", ".join(texts) or "nothing"
