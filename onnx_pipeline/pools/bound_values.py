"""What a compiled statement binds, for drivers that bind by position."""

from typing import Any

from sqlalchemy.sql.compiler import Compiled

__all__ = ["bound_values"]


def bound_values(made: Compiled) -> list[Any]:
    """The values to bind, in order; none for DDL."""
    positions = getattr(made, "positiontup", None) or []
    # By the names that the positions have: those that SQLAlchemy escapes (of a column with a blank, say) are of texts.
    values = made.construct_params(escape_names=False) or {}
    return [values[name] for name in positions]
