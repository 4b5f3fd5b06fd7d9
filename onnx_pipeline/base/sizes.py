"""Sizes of memory as people write them."""

import re

from onnx_pipeline.base.errors import SpecError

__all__ = ["bytes_of", "readable_bytes"]

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kMGT]?)(?P<binary>i?)B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def bytes_of(text: str | int, *, setting: str) -> int:
    """`4GB`, `512 MiB` or a number of bytes; both kinds of units count by 1,024. Raises SpecError, naming `setting`."""
    match = _SIZE.fullmatch(str(text).strip())
    size = round(float(match["number"]) * _UNITS[match["unit"].lower()]) if match else 0
    if size <= 0:
        raise SpecError(f"{setting} is {text!r}, which is no size of memory; write {setting}=4GB, say")
    return size


def readable_bytes(size: float) -> str:
    """`3.2 GB`, by 1,024."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f}".removesuffix(".0") + " GB"
