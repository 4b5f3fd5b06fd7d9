"""How a scoring's rows fall into slices.

A partitioning turns Dagster's keys into a predicate that the pool can use an index for, and tells for a batch of rows
which partition each belongs to. Rows are placed here by binary search, so every pool gives the same answer.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.errors import PartitionError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source

__all__ = ["CHUNK", "Codes", "Partitioning", "way_of"]


CHUNK = 64
"""Most partitions that one statement reads: each keeps one staging file open."""

Codes = npt.NDArray[np.int64]


class Partitioning(ABC):
    """The partitions of one scoring."""

    definition: dg.PartitionsDefinition[str] | None
    ordered: ClassVar[bool] = False
    """Whether partitions come one after the other, so that rows may lie before the first or after the last."""

    def check_source(self, source: Source) -> None:  # noqa: B027 - the whole table fits every source
        """Raise SpecError or SignatureError where the source cannot be cut so."""

    @abstractmethod
    def way(self, source: Source) -> str:
        """How the source is cut, as canonical JSON: what decides which rows lie in the partition of a key.

        Which partitions there are is no part of it: a later end or another list of values cuts no row otherwise.
        """

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Every partition key, in order."""

    @abstractmethod
    def marker(self, source: Source, pool: Pool) -> sa.ColumnElement[Any] | None:
        """What a statement selects so that `place` can tell a row's partition; None where there is one slice only."""

    @abstractmethod
    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool] | None:
        """Which rows lie in `keys` (neighbours, see `chunks`); None for every row."""

    @abstractmethod
    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        """`[N]` markers → `[N]` int64 indexes into `keys`; -1 before or outside them, -2 NULL, `len(keys)` after."""

    def group(self, source: Source, pool: Pool) -> sa.ColumnElement[Any] | None:
        """What the inventory groups by: as coarse as possible while every group lies within one partition."""
        return self.marker(source, pool)

    def check(self, keys: Sequence[str]) -> None:
        """Raise `PartitionError` for a key that does not exist."""
        known = self._known()
        for key in keys:
            if key not in known:
                raise PartitionError(f"there is no partition {key!r}; {self._advice(key)}")

    def may_have_had(self, key: str) -> bool:
        """Whether `key` can be a partition of this way, wherever partitions begin and end."""
        return key in self._known()

    def _known(self) -> frozenset[str]:
        return frozenset(self.keys())

    def _advice(self, key: str) -> str:
        return closest(key, self.keys())

    def chunks(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """`keys` in groups that one statement can read."""
        for start in range(0, len(keys), CHUNK):
            yield list(keys[start : start + CHUNK])

    def previous(self, key: str) -> str | None:
        """The partition before `key`, whose predictions a distribution is compared with."""
        keys = self.keys()
        index = keys.index(key)
        return keys[index - 1] if index else None


def way_of(by: str, **facts: str | int | Sequence[str]) -> str:
    """A way of partitioning as the scoring log keeps it, and as messages show it."""
    return json.dumps({"by": by, **facts}, sort_keys=True)
