"""An interrupted query told as an interruption: DuckDB's client drops what the signal's handler raised."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interruptible"]

_INTERRUPTED = "Query interrupted"
"""The text of its RuntimeError, of no class of its own: `DuckDBPyConnection::CompletePendingQuery` in its Python client."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt where a signal ended a query of the block.

    A run that was cancelled would be a failed one otherwise, and be tried again.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != _INTERRUPTED:
            raise
        raise KeyboardInterrupt(_INTERRUPTED) from error
