"""Values of an attribute as they stand in the YAML.

Dagster reads every text as a template of Python, so that it makes 1 of `'1.0'` and 10 of `'1_0'`: what stands in quotes
would be a number.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

__all__ = ["as_written", "resolve_mapping"]


def as_written(context: dg.ResolutionContext, value: Any) -> Any:
    """The value itself, but for a template, `{{ env.MEDIAN }}`, which Dagster fills in."""
    return context.resolve_value(value) if isinstance(value, str) and "{{" in value else value


def resolve_mapping(context: dg.ResolutionContext, given: Any) -> Any:
    """The mapping with each value as it is written."""
    if not isinstance(given, Mapping):
        return context.resolve_value(given)
    return {name: as_written(context.at_path(name), value) for name, value in given.items()}
