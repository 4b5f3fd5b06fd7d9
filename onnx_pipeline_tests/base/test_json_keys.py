"""Keys that an object has twice, against a parser that shows every pair."""

import json
import random

import pytest

from onnx_pipeline.base.json_keys import KeyTwice, key_twice

TEXTS = ("a", "b", ":", "a:", ' ":', '":', "\\", "", " :", "x\n:")


def written(value, chance, blanks):
    """JSON in which some objects have a key twice, and whether one has."""
    if isinstance(value, dict):
        pairs = [(key, *written(part, chance, blanks)) for key, part in value.items()]
        doubled = bool(pairs) and chance.random() < 0.05
        if doubled:
            pairs.insert(0, pairs[-1])
        text = ",".join(f"{json.dumps(key)}{chance.choice(blanks)}:{part}" for key, part, _ in pairs)
        return "{" + text + "}", doubled or any(twice for _, _, twice in pairs)
    if isinstance(value, list):
        parts = [written(part, chance, blanks) for part in value]
        return "[" + ",".join(text for text, _ in parts) + "]", any(twice for _, twice in parts)
    return json.dumps(value), False


def made_up(chance, depth=0):
    kind = chance.random()
    if depth < 3 and kind < 0.4:
        return {chance.choice(TEXTS): made_up(chance, depth + 1) for _ in range(chance.randrange(4))}
    if depth < 3 and kind < 0.6:
        return [made_up(chance, depth + 1) for _ in range(chance.randrange(12))]
    return chance.choice([1, 2.5, None, True, chance.choice(TEXTS)])


@pytest.mark.parametrize("blanks", [[""], ["", " ", "\n\t"]], ids=["plain", "blanks"])
@pytest.mark.parametrize("short", [True, False])
def test_exactly_the_texts_with_a_key_twice_are_found(monkeypatch, blanks, short):
    if not short:
        monkeypatch.setattr("onnx_pipeline.base.json_keys._SHORT", 0)
    chance = random.Random(7)
    seen = set()
    for _ in range(1500):
        text, twice = written(made_up(chance), chance, blanks)
        found = key_twice(text.encode(), json.loads(text))
        assert (found is not None) == twice, text
        seen.add(twice)
    assert seen == {True, False}


def test_key_and_place_are_told():
    text = b'{"data": [{"a": 1}, {"x": [1], "b": {"c": 1, "c": ":"}}]}'
    assert key_twice(text, json.loads(text)) == KeyTwice("c", ("data", 1, "b"))
    assert key_twice(memoryview(b'{"\\u0061": 1, "a": 2}'), {"a": 2}) == KeyTwice("a", ())


def test_numbers_of_any_length_are_no_matter():
    text = b'{"a": ' + b"9" * 300 + b', "a": ' + b"9" * 5000 + b"}"
    assert key_twice(text, {"a": 1.0}) == KeyTwice("a", ())
