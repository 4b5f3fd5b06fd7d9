"""Names of columns that stand beside those of a source while its rows are on their way."""

from collections.abc import Container

__all__ = ["CHANGED", "MARKER", "MISFITS", "NULLS", "PLACE", "is_reserved", "staged_name"]

MARKER = "__partition"
"""Column of an extracting statement by which rows are placed in partitions; never staged."""
CHANGED = "__changed"
"""Column of an extracting statement that carries the spec's `changed`; never staged."""
NULLS = "__nulls_"
"""Begins columns of one bit per feature: whether it is NULL or NaN in that row."""
MISFITS = "__misfits_"
"""Begins columns of one bit per feature that may have one: whether its value has no form in the model's dtype."""
PLACE = "__place__"
"""Column of a surveying statement: what `Partitioning.place` tells a row's partition by."""


def is_reserved(name: str) -> bool:
    """Whether a column of that name would be taken for one of these; databases compare names without case."""
    folded = name.casefold()
    return folded in (MARKER, CHANGED, PLACE) or folded.startswith((NULLS, MISFITS))


def staged_name(name: str, key: Container[str], taken: Container[str]) -> str:
    """What a source's column is called as a feature; `taken` are the source's names.

    A key that is a feature too is staged twice: as it is, and cast for the model.
    """
    staged = name
    while staged in key or is_reserved(staged) or (staged != name and staged in taken):
        staged = f"feature {staged}" if is_reserved(staged) else f"{staged} (feature)"
    return staged
