"""What is imported where it is used, by a name that a table holds as text."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["imported", "on_first_use"]


def imported(place: str) -> Any:
    """What `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def on_first_use(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that imports each of its names from a module once it is asked for."""

    def __getattr__(name: str) -> Any:  # noqa: N807 - what it becomes there
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return imported(f"{modules[name]}:{name}")

    return __getattr__
