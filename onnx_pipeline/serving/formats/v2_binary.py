"""Tensors as the protocol's binary data."""

import struct
from typing import Any

import numpy as np

from onnx_pipeline.serving.refusals import Refusal

__all__ = ["from_binary", "to_binary"]

_NUMPY = {
    "float": "<f4", "double": "<f8", "float16": "<f2", "bool": "?",
    **{f"{sign}int{bits}": f"<{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_LENGTH = struct.Struct("<I")


def from_binary(data: memoryview, dtype: str, *, tensor: str) -> np.ndarray[Any, Any]:
    """`[N]` elements from little-endian bytes; text comes as length and UTF-8, one after the other. Raises Refusal."""
    if dtype == "string":
        return np.array(_texts(data, tensor), dtype=object)
    kind = np.dtype(_NUMPY[dtype])
    if len(data) % kind.itemsize:
        raise Refusal(400, "binary_misfit", f"input {tensor!r} has {len(data)} bytes, which make no whole elements")
    if dtype == "bool":
        # Any other byte would be a boolean of its own to numpy.
        return np.not_equal(np.frombuffer(data, np.uint8), 0)
    return np.frombuffer(data, kind)


def _texts(data: memoryview, tensor: str) -> list[str]:
    texts, position = [], 0
    try:
        while position < len(data):
            (length,) = _LENGTH.unpack_from(data, position)
            position += _LENGTH.size + length
            if position > len(data):
                raise ValueError(length)  # noqa: TRY301 - what cannot be read is one error
            texts.append(str(data[position - length : position], "utf-8"))
    except (struct.error, ValueError):
        raise Refusal(
            400,
            "binary_misfit",
            f"input {tensor!r}, element {len(texts)} is no text: write 4 bytes of length, then UTF-8",
        ) from None
    return texts


def to_binary(tensor: np.ndarray[Any, Any]) -> bytes:
    """The elements in row-major order."""
    if tensor.dtype == object:
        encoded = [str(text).encode() for text in tensor.ravel()]
        return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))
    return np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()
