"""JSON Schema of what goes in and comes out: of every model the same, and of each model its columns."""

from typing import Any

import numpy as np
import pyarrow as pa

from onnx_pipeline.base.inference_protocol import DATATYPES
from onnx_pipeline.base.rules import largest
from onnx_pipeline.models.signature import TensorSignature
from onnx_pipeline.serving.served import ServedModel

__all__ = ["COMMON", "KEYS", "answer", "request", "v2_answer", "v2_request"]

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_FLOATS = ("float16", "float", "double")

KEYS = {
    "functions_key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


_PLACE = {"code": _TEXT, "column": _TEXT_OR_NULL, "row": {"type": ["integer", "null"]}}
_LISTED = {
    "name": _TEXT,
    "state": {"enum": ["ready", "loading", "failed"]},
    "sha256": _TEXT_OR_NULL,
    "failure": _TEXT_OR_NULL,
}
_TENSOR = _object({"name": _TEXT, "datatype": {"enum": list(DATATYPES.values())}, "shape": {"type": "array"}})
_COLUMNS = {"type": "array", "items": _object({"name": _TEXT, "dtype": _TEXT})}

COMMON: dict[str, Any] = {
    "Error": _object({"error": _object({"message": _TEXT, **_PLACE}), "request_id": _TEXT}),
    "V2Error": _object({"error": _TEXT, **_PLACE, "request_id": _TEXT}),
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"type": "boolean"}, "models": {"type": "object", "additionalProperties": _TEXT}}),
    "Models": _object({"models": {"type": "array", "items": _object(_LISTED)}}),
    "Model": _object({**_LISTED, "features": _COLUMNS, "predictions": _COLUMNS}),
    "V2Server": _object({"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}}),
    "V2Ready": _object({"name": _TEXT, "ready": {"type": "boolean"}}),
    "V2Model": _object(
        {
            "name": _TEXT, "versions": {"type": "array", "items": _TEXT}, "platform": _TEXT,
            "inputs": {"type": "array", "items": _TENSOR}, "outputs": {"type": "array", "items": _TENSOR},
        }
    ),
}  # fmt: skip


def request(served: ServedModel) -> dict[str, Any]:
    """Each of the JSON shapes."""
    cells = {name: _cell(dtype, nullable=name not in served.unsafe) for name, dtype in served.dtypes.items()}
    record = _object(cells)
    records = {"type": "array", "items": record}
    rows = _rows(list(cells.values()))
    split = {
        "type": "object",
        # Columns in the model's order, and rows counted from 0, where they are null or not there.
        "properties": {
            "columns": {"enum": [list(cells), None]}, "index": {"type": ["array", "null"]}, "data": rows,
        },
        "required": ["data"],
    }  # fmt: skip
    return _shapes(records, rows, "input_data", split)


def answer(served: ServedModel) -> dict[str, Any]:
    """The same shapes, of predictions."""
    cells = {column.name: _predicted(column.arrow) for column in served.outputs}
    rows = _predicted_rows(list(cells.values()))
    columns = {"const": list(cells)}
    split = _object({"columns": columns, "index": {"type": "array"}, "data": rows})
    shapes = _shapes({"type": "array", "items": _object(cells)}, rows, "output_data", split)
    shapes["anyOf"][2] = _object({"columns": columns, "data": rows})
    return shapes


def _shapes(records: Any, rows: Any, split_name: str, split: Any) -> dict[str, Any]:
    return {
        "anyOf": [records, _object({"data": records}), _object({"data": rows}), _object({split_name: split})],
    }


def _rows(cells: list[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "array", "minItems": len(cells), "maxItems": len(cells)}
    distinct = [cell for place, cell in enumerate(cells) if cell not in cells[:place]]
    if len(distinct) == 1:
        row["items"] = distinct[0]
    else:
        row["prefixItems"] = cells
    return {"type": "array", "items": row}


def _predicted_rows(cells: list[Any]) -> dict[str, Any]:
    """Not by `prefixItems`, which not every reader of answers knows."""
    distinct = [cell for place, cell in enumerate(cells) if cell not in cells[:place]]
    row = {"type": "array", "minItems": len(cells), "maxItems": len(cells), "items": {"anyOf": distinct}}
    return {"type": "array", "items": row}


def _cell(dtype: str, *, nullable: bool) -> dict[str, Any]:
    if dtype in _FLOATS:
        end = largest(dtype)
        kinds = ["number", "boolean", "null"] if nullable else ["number", "boolean"]
        return {"type": kinds, "minimum": -end, "maximum": end}
    if dtype == "string":
        return _TEXT
    if dtype == "bool":
        return {"type": "boolean"}
    bounds = np.iinfo(dtype)
    return {"type": ["integer", "boolean"], "minimum": int(bounds.min), "maximum": int(bounds.max)}


def _predicted(arrow: pa.DataType) -> dict[str, Any]:
    if pa.types.is_floating(arrow):
        return {"type": ["number", "null"]}
    if pa.types.is_boolean(arrow):
        return {"type": "boolean"}
    return {"type": "integer"} if pa.types.is_integer(arrow) else _TEXT


def v2_request(served: ServedModel) -> dict[str, Any]:
    """The model's tensors; one input per column is taken as well."""
    tensors = [_v2_input(tensor) for tensor in served.model.signature.inputs]
    inputs = {"type": "array", "minItems": len(tensors), "items": {"anyOf": tensors}}
    output = {"name": {"enum": [output.name for output in served.model.signature.outputs]}}
    return {
        "type": "object",
        "properties": {"id": _TEXT, "inputs": inputs, "outputs": {"type": "array", "items": _object(output)}},
        "required": ["inputs"],
    }


def _v2_input(tensor: TensorSignature) -> dict[str, Any]:
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
    properties = {"name": {"const": tensor.name}, "datatype": {"const": DATATYPES[tensor.dtype]}, "shape": sizes}
    return _object({**properties, "data": {"type": "array"}})


def v2_answer(served: ServedModel) -> dict[str, Any]:
    """The output tensors."""
    names = {"enum": [output.name for output in served.model.signature.outputs]}
    sizes = {"type": "array", "items": {"type": "integer"}}
    tensor = {"name": names, "datatype": {"enum": list(DATATYPES.values())}, "shape": sizes, "data": {"type": "array"}}
    return _object(
        {
            "model_name": {"const": served.name}, "model_version": _TEXT,
            "outputs": {"type": "array", "items": _object(tensor)},
        }
    )  # fmt: skip
