"""What `--features` says: the names of the columns of models that name none themselves."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.json_keys import key_twice
from onnx_pipeline.serving.served import Features

__all__ = ["ONLY", "parse_features"]

ONLY = ""
"""Stands for the one model that is served, where no name says which."""

_EXAMPLE = (
    "write --features <model>=<column>,<column>, or name a JSON file "
    '{"<model>": ["<column>", ...], "<another>": {"<input>": ["<column>", ...]}}'
)


def parse_features(texts: Iterable[str]) -> dict[str, Features]:
    """Columns by model, from `a,b`, `model=a,b`, a JSON object, or the path of a file that holds one.

    Raises SpecError for a text that is none of these, and for a model that is named twice.
    """
    found: dict[str, Features] = {}
    for text in texts:
        for model, columns in _parse(text.strip()).items():
            if model in found:
                raise SpecError(f"--features names the columns of {model or 'the model'!r} twice; leave one out")
            found[model] = columns
    return found


def _parse(text: str) -> dict[str, Features]:
    if text.startswith("{"):
        return _from_json(text, "--features")
    if text.endswith(".json"):
        try:
            return _from_json(Path(text).expanduser().read_text(encoding="utf-8"), text)
        except OSError as error:
            raise SpecError(f"--features names {text}, which cannot be read ({error.strerror}); {_EXAMPLE}") from error
    model, equals, listed = text.rpartition("=")
    columns = [name.strip() for name in listed.split(",")]
    _check(columns, f"--features {text}")
    return {model.strip() if equals else ONLY: columns}


def _from_json(text: str, origin: str) -> dict[str, Features]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise SpecError(f"{origin} holds no JSON ({error}); {_EXAMPLE}") from error
    twice = key_twice(text.encode(), given)
    if twice is not None:
        raise SpecError(f"{origin} has {twice.key!r} twice, and only one of the two could count; {_EXAMPLE}")
    if not isinstance(given, dict):
        raise SpecError(f"{origin} holds no JSON object; {_EXAMPLE}")
    return {model: _features(value, f"{origin}, {model!r}") for model, value in given.items()}


def _features(value: Any, origin: str) -> Features:
    lists = value.values() if isinstance(value, Mapping) else [value]
    for columns in lists:
        _check(columns, origin)
    features: Features = value
    return features


def _check(columns: Any, origin: str) -> None:
    if not isinstance(columns, list) or not columns or not all(isinstance(name, str) and name for name in columns):
        raise SpecError(f"{origin} is no list of columns' names; {_EXAMPLE}")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"{origin} names the column {twice!r} twice; each place of the input has a column of its own")
