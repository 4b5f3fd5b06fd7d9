"""What is wrong with an attribute, told with file and line of its `defs.yaml`.

Pydantic's own report gives an address on the web, quotes the whole mapping, which may hold a key, and knows no file.
"""

import re
from collections.abc import Collection, Iterator, Sequence

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest

__all__ = ["AttributeMisfitError", "attribute_in", "place_in", "told"]

_BEGINS_WITH = re.compile(r"`?(?P<path>[a-z_]+(?:\.[a-z_]+)*)`?(?=[:\s])")
_ALTERNATIVE = re.compile(r"\w+Model|str|int|float|bool|literal\[.*\]|constrained-\w+|list\[.*\]|dict\[.*\]|none")
"""What Pydantic calls a member of a union in the path of an error; no attribute is called so."""
_MAY_HOLD_A_SECRET = frozenset({"auth", "env", "headers"})
_OURS = ("value_error", "engine")
"""Types of errors whose message names the value itself, where that can be no secret."""


class AttributeMisfitError(SpecError, ResolutionException):
    """An attribute that cannot be, with its place. Dagster adds nothing to a ResolutionException on its way."""


def attribute_in(message: str, attributes: Collection[str]) -> tuple[str, ...]:
    """The path of the attribute that a message of ours begins with; empty where it begins with another word."""
    found = _BEGINS_WITH.match(message)
    path = tuple(found["path"].split(".")) if found else ()
    return path if path[:1] and path[0] in attributes else ()


def told(
    error: ValidationError, tree: SourcePositionTree | None, prefix: Sequence[str | int], attributes: Collection[str]
) -> str:
    """One line per attribute: file and line, the attribute, what is wrong with it, and its value where none is secret.

    `prefix` is where the checked part stands in the file.
    """
    lines = [_line(found, tree, prefix, attributes) for found in _most_telling(error.errors(include_url=False))]
    return "\n".join(dict.fromkeys(lines))


def _place(tree: SourcePositionTree | None, path: Sequence[str | int]) -> str:
    """`<file>:<line>: ` of what stands there, or of what is nearest above it; empty where there is no file."""
    if tree is None:
        return ""
    position, _ = tree.lookup_closest_and_path(list(path), trace=None)
    return "" if position.filename == "<string>" else f"{position.filename}:{position.start.line}: "


def place_in(context: dg.ResolutionContext, path: Sequence[str | int]) -> str:
    """`<file>:<line>: ` of an attribute below what the context resolves; empty where there is no file."""
    return _place(context.source_position_tree, [*context.path, *path])


def _line(
    found: ErrorDetails, tree: SourcePositionTree | None, prefix: Sequence[str | int], attributes: Collection[str]
) -> str:
    path = _attribute(found)
    message = found["msg"].removeprefix("Value error, ")
    path = path or attribute_in(message, attributes)
    if found["type"] == "missing":
        message = "is missing, and has no default"
    elif found["type"] == "extra_forbidden":
        message = "there is no such attribute"
        if len(path) == 1:
            message += f"; {closest(str(path[0]), sorted(attributes))}"
    shown = ".".join(map(str, [*prefix[1:], *path]))
    named = message.startswith(("`", *map(str, path[:1]))) if path else True
    text = message if named or not shown else f"{shown}: {message}"
    if found["type"] not in (*_OURS, "missing", "extra_forbidden") and not {*prefix, *path} & _MAY_HOLD_A_SECRET:
        text += f", and it is {found['input']!r}"
    return f"{_place(tree, [*prefix, *path])}{text}"


def _attribute(found: ErrorDetails) -> tuple[str | int, ...]:
    return tuple(part for part in found["loc"] if not (isinstance(part, str) and _ALTERNATIVE.fullmatch(part)))


def _most_telling(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without what a union says of those members that the value was not meant to be.

    A mapping for a part that may also be a text is a wrong part, and no wrong text.
    """
    paths = [_attribute(found) for found in errors]
    for found, path in zip(errors, paths, strict=True):
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        alike = [other for other, its in zip(errors, paths, strict=True) if its == path]
        if deeper or (found is not alike[0] and found["type"].endswith("_type")):
            continue
        yield found
