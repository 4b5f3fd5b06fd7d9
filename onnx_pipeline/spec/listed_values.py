"""The attribute `partitions.values`: partitions as values of a column, each the text that stands in the YAML."""

import datetime
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from onnx_pipeline.spec.as_written import as_written
from onnx_pipeline.spec.misfits import AttributeMisfitError, place_in

__all__ = ["listed", "resolve_values"]

_MOST = 450
"""Characters of a partition key: what an index of SQL Server takes."""

_UNFIT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""


def resolve_values(context: dg.ResolutionContext, given: Any) -> Any:
    """The values from YAML, each as it is written."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return context.resolve_value(given)
    found = []
    for index, value in enumerate(given):
        here = context.at_path(index)
        try:
            _check_reading(here, value)
            found.append(listed(as_written(here, value)))
        except ValueError as error:
            raise AttributeMisfitError(f"{place_in(here, ())}{error}") from None
    return found


def _check_reading(context: dg.ResolutionContext, value: Any) -> None:
    """ValueError where YAML reads something else than what is written: of `no` it makes false, and 8 of `010`."""
    written = _written(context) if isinstance(value, bool | int) else None
    # True and TRUE are the same word.
    if written is None or (written.lower() if isinstance(value, bool) else written) == str(value).lower():
        return
    raise ValueError(
        f"partitions.values: YAML reads {written} as {str(value).lower()}, and rows may hold either. "
        f"Put it in quotes, or write {str(value).lower()}"
    )


def _written(context: dg.ResolutionContext) -> str | None:
    """A value of one line as the file has it; None where there is no file."""
    tree = context.source_position_tree
    if tree is None:
        return None
    position, _ = tree.lookup_closest_and_path(list(context.path), trace=None)
    start, end = position.start, position.end
    try:
        lines = Path(position.filename).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    if start.line != end.line or start.line > len(lines):
        return None
    return lines[start.line - 1][start.col - 1 : end.col - 1]


def listed(value: Any) -> str | int:
    """A value as it is kept; ValueError where it can be no partition key."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if type(value) is datetime.date:
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - what Pydantic and Dagster report with its place
            f"partitions.values: {value!r} is a {type(value).__name__}, and a value is a text or a whole number: its "
            "digits as they are written decide. Put it in quotes"
        )
    problem = next(_unfit(value), None)
    if problem is not None:
        raise ValueError(
            f"partitions.values: {value!r} {problem}. Give the rows another value in a `query`, and list that one"
        )
    return value


def _unfit(text: str) -> Iterator[str]:
    if not text.strip(" "):
        yield "is empty, and Dagster knows no empty partition key"
    if "..." in text:
        yield "holds `...`, which in a range of Dagster's stands between two keys"
    for character in text:
        if unicodedata.category(character) in _UNFIT:
            yield f"holds the character {character!r}, which no partition key of Dagster's may"
    if len(text) > _MOST:
        yield f"has {len(text)} characters, and a partition key has at most {_MOST}"
