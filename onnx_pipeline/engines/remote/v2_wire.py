"""The Open Inference Protocol, version 2: https://github.com/kserve/open-inference-protocol."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from onnx_pipeline.base.inference_protocol import DATATYPES
from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.json_wires import check_infinity, values_of
from onnx_pipeline.engines.remote.layout import Layout, WireInput, numbers
from onnx_pipeline.engines.remote.values import column_of, parsed
from onnx_pipeline.engines.remote.wire import BadAnswer, Wire
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["V2Wire"]

_BY_ARROW = {
    str(arrow): name for arrow, name in ((pa.float32(), "FP32"), (pa.float64(), "FP64"), (pa.string(), "BYTES"))
}


class V2Wire(Wire):
    """Tensors with name, shape, datatype and flat data."""

    content_type = "application/json"
    default_rows = 5_000

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._outputs = list(dict.fromkeys(layout.answered[place].output for place in layout.wanted))

    def encode(self, columns: Sequence[pa.Array], rows: int) -> Body:
        check_infinity(columns, self.layout)
        body = {
            "inputs": list(self._tensors(columns, rows)),
            "outputs": [{"name": name} for name in self._outputs],
        }
        return Body.of([orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)])

    def _tensors(self, columns: Sequence[pa.Array], rows: int) -> Iterator[dict[str, Any]]:
        start = 0
        for place in self.layout.inputs:
            width = len(place.names)
            parts = columns[start : start + width]
            start += width
            yield {
                "name": place.tensor.name,
                "shape": [rows] if len(place.tensor.shape) == 1 else [rows, width],
                "datatype": DATATYPES[place.tensor.dtype],
                "data": _flat(place, parts),
            }

    def decode(self, body: bytes, rows: int) -> list[pa.Array]:
        answer = parsed(body)
        tensors = answer.get("outputs") if isinstance(answer, dict) else None
        if not isinstance(tensors, list) or not all(isinstance(tensor, dict) for tensor in tensors):
            raise BadAnswer("it has no list `outputs` of tensors")
        by_name = {tensor.get("name"): tensor for tensor in tensors}
        columns = [self.layout.answered[place] for place in self.layout.wanted]
        missing = [column.output for column in columns if column.output not in by_name]
        if missing:
            raise BadAnswer(f"it has the outputs {', '.join(map(str, by_name)) or 'none'}, and no {missing[0]!r}")
        return [self._column(by_name[column.output], column, rows) for column in columns]

    def _column(self, tensor: dict[str, Any], column: OutputColumn, rows: int) -> pa.Array:
        width = sum(other.output == column.output for other in self.layout.answered)
        shape, data = tensor.get("shape"), tensor.get("data")
        if not isinstance(shape, list) or shape not in ([rows, width], *([[rows]] if width == 1 else [])):
            raise BadAnswer(f"output {column.output!r} has the shape {shape} for {rows:,} rows of {width}")
        expected = _BY_ARROW.get(str(column.arrow)) or DATATYPES[str(column.arrow)]
        if tensor.get("datatype") not in (expected, *(["FP16"] if expected == "FP32" else [])):
            raise BadAnswer(f"output {column.output!r} is {tensor.get('datatype')}, not {expected}")
        if not isinstance(data, list):
            raise BadAnswer(f"output {column.output!r} has no list `data`")
        values = list(_flattened(data))
        if len(values) != rows * width:
            raise BadAnswer(f"output {column.output!r} has {len(values):,} values for {rows:,} rows of {width}")
        return column_of(values[column.index or 0 :: width], column)


def _flat(place: WireInput, parts: Sequence[pa.Array]) -> Any:
    if len(parts) == 1:
        column = parts[0]
        if pa.types.is_float32(column.type) or pa.types.is_float64(column.type):
            return numbers(column)
        return values_of(column)
    if place.tensor.dtype in ("float", "double"):
        return np.column_stack([numbers(part) for part in parts]).ravel()
    return [value for row in zip(*map(values_of, parts), strict=True) for value in row]


def _flattened(data: list[Any]) -> Iterator[Any]:
    """The protocol allows `data` flat, and nested as the shape says."""
    for value in data:
        if isinstance(value, list):
            yield from _flattened(value)
        else:
            yield value
