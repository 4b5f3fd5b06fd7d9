"""UUIDs between Arrow's 16 bytes and the 36 characters that every driver takes and gives, without a Python object each."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.errors import PoolError

__all__ = ["uuid_from_text", "uuid_text"]

_GROUPS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
"""Hexadecimal digits of each group; a hyphen stands between two of them."""


def uuid_text(array: pa.Array) -> pa.Array:
    """`[N]` UUIDs → `[N]` strings `8-4-4-4-12`, in small letters."""
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    filled = pc.fill_null(storage.cast(pa.binary(16)), b"\0" * 16)
    data = np.frombuffer(filled.buffers()[1], np.uint8)[filled.offset * 16 :][: len(filled) * 16]
    digits = np.frombuffer(data.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    characters = np.full((len(filled), 36), ord("-"), np.uint8)
    for group, (start, end) in enumerate(_GROUPS):
        characters[:, start + group : end + group] = digits[:, start:end]
    offsets = np.arange(0, 36 * len(filled) + 1, 36, dtype=np.int32)
    text = pa.StringArray.from_buffers(len(filled), pa.py_buffer(offsets), pa.py_buffer(characters))
    return pc.if_else(storage.is_valid(), text, pa.scalar(None, pa.string()))


def uuid_from_text(array: pa.Array) -> pa.Array:
    """`[N]` strings → `[N]` UUIDs; `PoolError` for a text that is none."""
    filled = pc.fill_null(array.cast(pa.string()), "0" * 8 + "-0000" * 3 + "-" + "0" * 12)
    try:
        digits = bytes.fromhex("".join(pc.replace_substring(filled, "-", "").to_pylist()))
    except ValueError as error:
        raise PoolError(f"the server sent a UNIQUEIDENTIFIER that is none: {error}") from error
    if len(digits) != 16 * len(filled):
        raise PoolError("the server sent a UNIQUEIDENTIFIER of another length than 32 digits")
    whole = pa.Array.from_buffers(pa.binary(16), len(filled), [None, pa.py_buffer(digits)])
    storage = pc.if_else(array.is_valid(), whole, pa.scalar(None, pa.binary(16)))
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
