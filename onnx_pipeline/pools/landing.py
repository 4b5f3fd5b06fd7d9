"""Where a pool puts predictions that it computed itself, before they are loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from typing_extensions import Self

from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.rows import StoredRows

__all__ = ["LandedSlice", "Landing"]


@dataclass(frozen=True)
class LandedSlice:
    """One slice that is to land: what is selected, and what is kept of it."""

    target: Target
    """Where it will be loaded into: gives key and outputs their types."""
    partition_key: str
    features: sa.Select[Any]
    """The slice's rows: `marks`, then the feature columns under the names that the engine's task gives them."""
    marks: pa.Schema
    """Columns that pass through unchanged: the key, and what the facts of a slice are counted from."""
    folder: Path
    """Of staging on this disk, for pools that put rows into files."""
    pool: str
    """The kind of the pool, which says what SQL it speaks."""

    @property
    def outputs(self) -> pa.Schema:
        """The predictions, by the names and in the order of the engine's task."""
        return pa.schema([field for field in self.target.staged_schema if field.name not in self.target.key])


class Landing(ABC):
    """The place of one slice's predictions, in the pool or beside it. Nobody sees it before a manifest names it.

    To be used as a context manager: what was not kept is removed.
    """

    def __init__(self, piece: LandedSlice) -> None:
        self._piece = piece
        self._kept = False
        self.filled = False
        """Whether `insert` was called."""

    @property
    def pool(self) -> str:
        """The kind of the pool, which says what SQL it speaks: `duckdb`, `mssql`."""
        return self._piece.pool

    @property
    def features(self) -> sa.Select[Any]:
        """The slice's rows: `marks`, then the feature columns under the names that the engine's task gives them."""
        return self._piece.features

    @property
    def marks(self) -> Sequence[str]:
        """Columns that pass through unchanged: the key, and what the facts of a slice are counted from."""
        return tuple(self._piece.marks.names)

    @property
    def outputs(self) -> Sequence[str]:
        """The predictions, by the names and in the order of the engine's task."""
        return tuple(self._piece.outputs.names)

    def insert(self, statement: sa.Select[Any], *more: Callable[[sa.FromClause], sa.Select[Any]]) -> None:
        """Fill the place by one statement, whose columns are `marks` and then `outputs`.

        Where a statement would be too large, `more` make further ones, each over what the one before gave: only the first
        reads the source. NaN and infinities become NULL. Called again, it starts anew.
        """
        self._fill(statement, more)
        self.filled = True

    @abstractmethod
    def _fill(self, statement: sa.Select[Any], more: Sequence[Callable[[sa.FromClause], sa.Select[Any]]]) -> None: ...

    # For whoever judges what landed

    @property
    @abstractmethod
    def rows(self) -> sa.FromClause:
        """What landed, as something that `fetch` can select from."""

    @abstractmethod
    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        """The rows of a small result over what landed."""

    @abstractmethod
    def distinct(self, column: sa.ColumnElement[Any]) -> Sequence[sa.ColumnElement[Any]]:
        """What a text is grouped by where every difference counts; the first of them is the text itself."""

    @abstractmethod
    def stored(self, rows: int) -> StoredRows:
        """What landed, as a load takes it; `rows` is their number."""

    def keep(self) -> None:
        """A manifest names the place now."""
        self._kept = True

    @abstractmethod
    def discard(self) -> None:
        """Remove the place."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.discard()
