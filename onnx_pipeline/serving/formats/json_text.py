"""JSON, and where and why it goes wrong."""

import math
import re
from typing import Any

import orjson

from onnx_pipeline.base.json_keys import KeyTwice, key_twice
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["parsed"]

_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00")
"""How UTF-16 and UTF-32 begin: by a byte order mark, or with the upper half of an ASCII character."""
_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]*")
_NO_NUMBER = re.compile(r"[-+]?(?:NaN|nan|Infinity|inf)")
_PYTHON = re.compile(r"True|False|None")
_LONGEST = 128
_MANY = 500
_DEEP = "arrays or objects are nested deeper than can be read; rows need 4 levels at most"


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The JSON in a body; Refusal, naming place and cause, where there is none, or an object has a key twice.

    A byte order mark of UTF-8 before it is skipped, as RFC 8259 allows: PowerShell and .NET write one.
    """
    if not body:
        raise Refusal(400, "not_json", "the body is empty; send the rows as JSON")
    text = memoryview(body)[3:] if body[:3] == _BOM else body
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # The library's own text may quote the body; ours does not.
        raise Refusal(400, "not_json", f"the body is not JSON: {_why(bytes(text), error)}") from None
    try:
        twice = key_twice(text, payload)
    except RecursionError:
        raise Refusal(400, "not_json", f"the body cannot be read: {_DEEP}") from None
    if twice is not None:
        raise _refused(twice)
    return payload


def _refused(twice: KeyTwice) -> Refusal:
    key = twice.key[:_LONGEST]
    row = next((part for part in twice.place if isinstance(part, int)), None)
    whole = twice.place in ((row,), ("data", row))
    where = f"row {row}" if whole and row is not None else "an object of the request"
    return Refusal(
        400, "key_twice", f"{where} has the key {key!r} twice, and only one of the two values could count; send each "
        "key once", column=key if whole else None, row=row if whole else None,
    )  # fmt: skip


def _why(text: bytes, error: orjson.JSONDecodeError) -> str:
    """Why the text is no JSON, with the place."""
    if text[:2] in _WIDE[:2] or _WIDE[2] in text[:2]:
        return "it begins at line 1, column 1 like UTF-16 or UTF-32, and JSON is UTF-8; encode it as UTF-8"
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        before = text[: wrong.start]
        line, column = before.count(b"\n") + 1, wrong.start - before.rfind(b"\n")
        return (
            f"byte {wrong.start} (line {line}, column {column}) is 0x{text[wrong.start]:02x}, which is no UTF-8 there; "
            "encode the text as UTF-8"
        )
    place = f"line {error.lineno}, column {error.colno}"
    # orjson says the one of brackets that go on, the other of so many that none are left.
    if "limit" in error.msg or ("allocate" in error.msg and text.count(b"[") + text.count(b"{") > _MANY):
        return f"at {place} {_DEEP}"
    here = error.doc[error.pos : error.pos + 16]
    number = _NUMBER.match(error.doc, error.pos)
    if number is not None and _is_beyond(number.group()):
        return (
            f"the number at {place} has {len(number.group()):,} characters, and is beyond what a double holds "
            "(1.8e308); null stands for a missing number"
        )
    if _NO_NUMBER.match(error.doc, max(0, error.pos - 1)) or _NO_NUMBER.match(here):
        return f"it goes wrong at {place}; NaN and Infinity are no JSON, null stands for a missing number"
    if error.pos >= len(error.doc):
        return f"it ends at {place}, before it is whole"
    if here.startswith("'"):
        return f"it goes wrong at {place}; JSON's texts stand in double quotes"
    if _PYTHON.match(here):
        return f"it goes wrong at {place}; JSON writes true, false and null"
    return f"it goes wrong at {place}"


def _is_beyond(number: str) -> bool:
    try:
        return math.isinf(float(number))
    except ValueError:
        return False
