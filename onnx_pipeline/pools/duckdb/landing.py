"""Predictions that DuckDB computed, as a Parquet file in staging: the pool's one file is held only while they are made.

What is counted of them is counted by a database in memory over that file, while others use the pool.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import PoolError, StagingError
from onnx_pipeline.base.types import sqlalchemy_type
from onnx_pipeline.cluster.parts import PartPlan, Written
from onnx_pipeline.pools.duckdb.copy_to import CopyTo
from onnx_pipeline.pools.duckdb.interruption import interruptible
from onnx_pipeline.pools.duckdb.memory import why
from onnx_pipeline.pools.duckdb.statements import execute, parquet, table
from onnx_pipeline.pools.landing import LandedSlice, Landing
from onnx_pipeline.pools.rows import StoredFiles

__all__ = ["FileLanding"]

_FEATURES = "features.parquet"


class Connect(Protocol):
    """The pool's own way to its file."""

    def __call__(self, purpose: str, *, columns: int) -> AbstractContextManager[duckdb.DuckDBPyConnection]: ...


@lru_cache(maxsize=1)
def _counting(_process: int, config: Sequence[tuple[str, Any]]) -> duckdb.DuckDBPyConnection:
    """A database in memory, which counts what landed: to open one takes longer than to count a small slice.

    One for each process, since none lives on in a fork.
    """
    return duckdb.connect(":memory:", config=dict(config))


def _make(folder: Path) -> None:
    """Make a folder. Raises StagingError."""
    with writing(
        folder,
        StagingError,
        lost="nothing landed there",
        elsewhere="name another `folder` for the resource `staging`",
        then="run the partition again",
    ):
        folder.mkdir(parents=True, exist_ok=True)


class FileLanding(Landing):
    """A Parquet file in the slice's folder of staging."""

    def __init__(self, piece: LandedSlice, connect: Connect, config: Mapping[str, Any]) -> None:
        super().__init__(piece)
        self._connect = connect
        self._config = dict(config)
        self.file = piece.folder / f"{uuid.uuid4().hex}.parquet"

    def _fill(self, statement: sa.Select[Any], more: Sequence[Callable[[sa.FromClause], sa.Select[Any]]]) -> None:
        for number, over in enumerate(more):
            # Nothing is too large for one statement here.
            statement = over(statement.subquery(f"part_{number + 1}"))
        _make(self.file.parent)
        with self._connect("landing predictions", columns=self._columns) as connection:
            execute(connection, self._copied(statement.subquery("scored")))

    @property
    def _columns(self) -> int:
        """How many the source is read for."""
        return len(self.features.selected_columns)

    def _copied(self, scored: sa.FromClause) -> CopyTo:
        names = (*self.marks, *self.outputs)
        columns = [self._column(name, column) for name, column in zip(names, scored.c, strict=True)]
        return CopyTo(sa.select(*columns).select_from(scored), self.file)

    @contextmanager
    def hand_out(self, *, most: int, wanted: int) -> Iterator[PartPlan]:
        from onnx_pipeline.cluster.parquet_parts import plan_parts  # only a cluster's engine takes pyarrow's Parquet

        features = self.file.with_suffix(".features")
        _make(features)
        try:
            with self._connect("handing out features", columns=self._columns) as connection:
                execute(connection, CopyTo(self.features, features / _FEATURES))
            yield plan_parts(str(features), str(self._written), [_FEATURES], most=most, wanted=wanted)
        finally:
            shutil.rmtree(features, ignore_errors=True)
            shutil.rmtree(self._written, ignore_errors=True)

    @property
    def _written(self) -> Path:
        return self.file.with_suffix(".written")

    def _adopt(self, plan: PartPlan, written: Sequence[Written]) -> None:
        from onnx_pipeline.cluster.parquet_parts import check_written

        check_written(str(self._written), written)
        names = (*self.marks, *self.outputs)
        if written:
            found = parquet([self._written / each.name for each in written], names)
            copied = self._copied(found)
        else:
            copied = self._copied(
                sa.select(*(sa.null().label(name) for name in names)).where(sa.false()).subquery("none")
            )
        with self._counted() as connection:
            execute(connection, copied)

    def _column(self, name: str, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        schema = self._piece.target.staged_schema
        if name not in schema.names:
            return column.label(name)
        arrow = schema.field(name).type
        if pa.types.is_floating(arrow) and name in self._piece.outputs.names:
            # A double may be too large for a float: it is asked as what it will be.
            column = sa.cast(column, sqlalchemy_type(arrow, column=name))
            return sa.case((sa.func.isfinite(column), column)).label(name)
        return sa.cast(column, sqlalchemy_type(arrow, column=name)).label(name)

    @property
    def rows(self) -> sa.FromClause:
        return parquet([self.file], (*self.marks, *self.outputs))

    def fetch(self, statement: sa.Select[Any]) -> pa.Table:
        with self._counted() as connection:
            return table(connection, statement)

    @contextmanager
    def _counted(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            with interruptible(), _counting(os.getpid(), tuple(self._config.items())).cursor() as connection:
                yield connection
        except duckdb.Error as error:
            raise PoolError(f"what landed in {self.file} cannot be counted: {why(error)}") from error

    def distinct(self, column: sa.ColumnElement[Any]) -> Sequence[sa.ColumnElement[Any]]:
        return [column]

    def stored(self, rows: int) -> StoredFiles:
        return StoredFiles((self.file,), rows)

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)
