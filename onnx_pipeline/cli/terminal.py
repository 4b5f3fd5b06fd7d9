"""Where the commands print to."""

import os
import sys

from rich.console import Console
from rich.table import Table

__all__ = ["terminal", "uncut"]

_UNBOUNDED = 10_000
"""Columns of a pipe or a file, where nothing need be broken; Rich takes 80."""


def terminal(*, errors: bool = False, soft_wrap: bool = False) -> Console:
    """Standard output, or standard error, on which a text is printed as it is.

    Rich reads `[x]` as markup and `:x:` as a picture; names of scorings, tables, partitions and their values may hold
    either. `soft_wrap` leaves the breaking of lines to the terminal. A pipe and a file are as wide as what is printed,
    unless COLUMNS says otherwise.
    """
    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _UNBOUNDED
    return Console(stderr=errors, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False, width=width)


def uncut(table: Table) -> Table:
    """The table, whose cells take a second line where there is no room, and are never cut: `1,00…` is no number."""
    for column in table.columns:
        column.overflow = "fold"
    return table
