"""LabelEncoder: https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/label_encoder.h
"""

from typing import Any

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import exact
from onnx_pipeline.engines.sql.operators.lookup import looked_up, mapped
from onnx_pipeline.engines.sql.tensors import Array, Tensor, kind_of

__all__ = ["label_encoder"]

_NAN_IS_A_KEY = 4
"""The version from which NaN equals NaN."""
_DEFAULTS: dict[str, tuple[str, Any]] = {
    "strings": ("default_string", "_Unused"),
    "int64s": ("default_int64", -1),
    "floats": ("default_float", 0.0),
}
_DTYPES: dict[str, Any] = {"strings": object, "int64s": np.int64, "floats": np.float32}


def label_encoder(node: Node) -> Tensor:
    """The shape of the input, in the dtype of the values. Of keys that are given twice the first counts."""
    if node.version == 1:
        return _of_classes(node)
    _, keys = _elements(node, "keys")
    suffix, values = _elements(node, "values")
    if len(keys) != len(values):
        raise node.refused(f"it has {len(keys)} keys and {len(values)} values")
    table: dict[Expression, Expression] = {}
    for key, value in zip(Tensor.of_array(keys), Tensor.of_array(values), strict=True):
        if key.value is not None or node.version >= _NAN_IS_A_KEY:
            table.setdefault(key, value)
    default = _default(node, suffix, values.dtype)
    return exact(node[0]).map(lambda cell: looked_up(cell, table, default), values.dtype)


def _elements(node: Node, name: str) -> tuple[str, Array]:
    """What a table's side is called by its dtype, and its elements."""
    for suffix, dtype in _DTYPES.items():
        found = node.attribute(f"{name}_{suffix}")
        if found is not None:
            return suffix, np.array(found, dtype)
    tensor = node.attribute(f"{name}_tensor")
    if tensor is None:
        raise node.refused(f"it has no {name}")
    flat = np.asarray(tensor).ravel()
    return {"f": "floats", "i": "int64s"}.get(flat.dtype.kind, "strings"), flat


def _default(node: Node, suffix: str, dtype: "np.dtype[Any]") -> Expression:
    tensor = node.attribute("default_tensor")
    if tensor is not None and np.size(tensor):
        return next(iter(Tensor.of_array(np.asarray(tensor).ravel()[:1])))
    name, otherwise = _DEFAULTS[suffix]
    return algebra.constant(node.attribute(name, otherwise), kind_of(dtype))


def _of_classes(node: Node) -> Tensor:
    """The first version: texts to their places, or places to their texts. Of a text given twice the last counts."""
    texts = [algebra.text(each) for each in node.attribute("classes_strings", [])]
    places = [algebra.integer(place) for place in range(len(texts))]
    return mapped(node, texts, places)
