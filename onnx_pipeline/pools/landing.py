"""Where a pool puts predictions that it computed itself, before they are loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from typing_extensions import Self

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cluster.parts import PartPlan, Written
from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.rows import StoredRows

__all__ = ["LandedSlice", "Landing", "ServerScript"]


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
    scoring: str
    """By which name models are registered in the pool."""

    @property
    def outputs(self) -> pa.Schema:
        """The predictions, by the names and in the order of the engine's task."""
        return pa.schema([field for field in self.target.staged_schema if field.name not in self.target.key])


@dataclass(frozen=True)
class ServerScript:
    """A batch in a server's own SQL that reads a query and answers with rows."""

    batch: str
    """Answers with one result: `marks` and then `outputs`, by their order."""
    query: sa.Select[Any]
    """What it reads, which it is given as text, as `@input_query`."""
    parameters: Mapping[str, int | str]
    """What else it is given, by names without `@`: BIGINT for whole numbers, NVARCHAR(MAX) for texts."""


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
    def marks_schema(self) -> pa.Schema:
        """`marks` with their types."""
        return self._piece.marks

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

    def execute(self, script: ServerScript) -> None:
        """Fill the place by what a batch answers with, in the session that makes it. Called again, it starts anew.

        Raises SpecError where the pool runs no scripts.
        """
        self._execute(script)
        self.filled = True

    def _execute(self, script: ServerScript) -> None:
        raise self._runs_none()

    def register(self, sha256: str, data: bytes, signature: str, form: str) -> int:
        """Keep a form of the model in the pool's models table for scripts to read; the id of its row.

        `sha256` is that of the model's bytes as they came. What stands there is left as it is; where an earlier version
        made the form otherwise, these bytes get a row of their own.
        """
        raise self._runs_none()

    def hand_out(self, *, most: int, wanted: int) -> AbstractContextManager[PartPlan]:
        """The slice's rows, marks and features, where a cluster's tasks find them, as of one moment.

        In about `wanted` parts, none of many more than `most` rows. What was put there is removed after the block.
        Raises SpecError where the pool gives its rows to no cluster.
        """
        raise self._gives_none()

    def adopt(self, plan: PartPlan, written: Sequence[Written]) -> None:
        """Fill the place by what tasks wrote, and by nothing else that lies there. Called again, it starts anew.

        Raises StagingError where it is not what they told of.
        """
        self._adopt(plan, written)
        self.filled = True

    def _adopt(self, plan: PartPlan, written: Sequence[Written]) -> None:
        raise self._gives_none()

    def _gives_none(self) -> SpecError:
        return SpecError(
            f"a pool of the kind {self.pool} gives its rows to no cluster, so nothing landed; score it with "
            "`engine: {kind: onnxruntime}`"
        )

    def _runs_none(self) -> SpecError:
        return SpecError(
            f"a pool of the kind {self.pool} runs no external scripts, so nothing landed; score it with "
            "`engine: {kind: onnxruntime}`"
        )

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
