"""Where a pool puts predictions that it computed itself, before they are loaded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

__all__ = ["Landing"]


class Landing(ABC):
    """The place of one slice's predictions, in the pool or beside it. Nobody sees it before a manifest names it."""

    features: sa.Select[Any]
    """The slice's rows: `marks`, then the feature columns under the names that the engine's task gives them."""
    marks: Sequence[str]
    """Columns that pass through unchanged: the key, and what the facts of a slice are counted from."""
    outputs: Sequence[str]
    """The predictions, by the names and in the order of the engine's task."""

    @abstractmethod
    def insert(self, statement: sa.Select[Any]) -> None:
        """Fill the place by one statement, whose columns are `marks` and then `outputs`."""
