"""Keys that stand twice in one object of a JSON text, of which a parser keeps the last without a word.

RFC 8259 calls what then happens unpredictable. Asking a parser for pairs, to see them all, takes 8 times as long as
orjson does, so the keys are first counted: a key has one colon behind it, and where there are no more colons than keys
in what was parsed, none was dropped. Only texts that leave it open, by colons within strings, are looked at again.
"""

import json
import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KeyTwice", "key_twice"]

_FEW = 8
"""Records that are looked into: the tensors of an inference request, each with parameters of its own."""
_AFTER_QUOTE = re.compile(rb'"[ \t\r\n]*:')
_BLANK_BEFORE = (b" :", b"\t:", b"\n:", b"\r:")
_COLON, _QUOTE, _BLANK = b':" '
_SHORT = 4096
"""Bytes up to which a count by numpy takes longer to begin than to do."""


class KeyTwice(NamedTuple):
    """A key that one object has twice."""

    key: str
    place: tuple[str | int, ...]
    """Keys and indices that lead to the object; empty for the whole text."""


def key_twice(body: bytes | bytearray | memoryview, parsed: Any) -> KeyTwice | None:
    """The first object of valid JSON that has a key twice; None where there is none. `parsed` is what `body` says."""
    keys = _keys(parsed)
    if _unique_by_count(body, keys):
        return None
    text = bytes(body)
    if sum(1 for _ in _AFTER_QUOTE.finditer(text)) == keys:
        return None
    return _found(json.loads(text, object_pairs_hook=_object, parse_int=_nothing, parse_float=_nothing), place=())


def _unique_by_count(body: bytes | bytearray | memoryview, keys: int) -> bool:
    """Whether there are no more colons than keys, or no more right behind a quote and none behind a blank.

    Strings that begin with a colon, or hold a quote before one, only make it False.
    """
    if len(body) <= _SHORT:
        short = bytes(body)
        if short.count(b":") == keys:
            return True
        return short.count(b'":') == keys and not any(short.count(blank) for blank in _BLANK_BEFORE)
    text = np.frombuffer(body, np.uint8)
    colons = text == _COLON
    if np.count_nonzero(colons) == keys:
        return True
    # Valid JSON does not begin with a colon, so there is something before each.
    before = text[np.flatnonzero(colons) - 1]
    return bool(np.count_nonzero(before == _QUOTE) == keys and not (before <= _BLANK).any())


def _keys(value: Any) -> int:
    """How many keys there are for certain. Records within records are not looked into: that costs a closer look."""
    if type(value) is dict:
        return len(value) + sum(_keys(part) for part in value.values() if type(part) in (dict, list))
    if type(value) is list and value and type(value[0]) is dict and set(map(type, value)) == {dict}:
        return sum(map(_keys, value)) if len(value) <= _FEW and any(map(_is_deep, value)) else sum(map(len, value))
    return 0


def _is_deep(record: dict[str, Any]) -> bool:
    return not {dict, list}.isdisjoint(map(type, record.values()))


class _Twice(NamedTuple):
    key: str


def _nothing(_: str) -> None:
    """Numbers say nothing of keys, and a long one takes its time."""


def _object(pairs: list[tuple[str, Any]]) -> Any:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    return _Twice(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))


def _found(value: Any, place: tuple[str | int, ...]) -> KeyTwice | None:
    if isinstance(value, _Twice):
        return KeyTwice(value.key, place)
    parts: Any = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for name, part in parts:
        if isinstance(part, (_Twice, dict, list)):
            found = _found(part, (*place, name))
            if found is not None:
                return found
    return None
