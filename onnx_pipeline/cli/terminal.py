"""Where the commands print to."""

from rich.console import Console

__all__ = ["terminal"]


def terminal(*, errors: bool = False, soft_wrap: bool = False) -> Console:
    """Standard output, or standard error, on which a text is printed as it is.

    Rich reads `[x]` as markup and `:x:` as a picture; names of scorings, tables, partitions and their values may hold
    either. `soft_wrap` leaves the breaking of lines to the terminal.
    """
    return Console(stderr=errors, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
