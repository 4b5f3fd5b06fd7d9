"""What is imported where it is used, by a name that a table holds as text."""

import importlib
from typing import Any

__all__ = ["imported"]


def imported(place: str) -> Any:
    """What `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
