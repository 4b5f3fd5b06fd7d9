"""What the scoring service and the engine `remote` have to agree on: headers, the Arrow media type, names of types."""

__all__ = [
    "ARROW_STREAM",
    "COLUMNS_HEADER",
    "DATATYPES",
    "IN_ORDER",
    "NULLS_HEADER",
    "ONNX_TYPES",
    "ROW_CODES",
    "SHA256_HEADER",
]

ARROW_STREAM = "application/vnd.apache.arrow.stream"

SHA256_HEADER = "x-onnx-model-sha256"
"""Of a request: the model that is wanted; of an answer: the model that scored."""

NULLS_HEADER = "x-onnx-nulls"
"""`nan`: whoever asks has looked at the NULLs, also of trees that track no missing values."""

COLUMNS_HEADER = "x-onnx-columns"
IN_ORDER = "in-order"
"""Value of that header: whoever asks has put the columns in the order of training, whatever they are called."""

ROW_CODES = frozenset({"row_refused", "value_misfit", "value_missing"})
"""Codes of refusals that are about one row of a request: the model, or its dtype, has no form for what is in it."""

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
    "string": "BYTES",
}  # fmt: skip
"""ONNX Runtime's name of an element type → the Open Inference Protocol's.

https://github.com/kserve/open-inference-protocol
"""

ONNX_TYPES = {datatype: name for name, datatype in DATATYPES.items()}
"""The other way round."""
