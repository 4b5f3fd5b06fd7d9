"""How a scoring's rows fall into slices.

Dagster decides which partitions exist and where a day begins; this module turns its keys into a predicate that the
pool can use an index for, and tells for a batch of rows which partition each belongs to. Boundaries come from Dagster's
own windows and rows are placed by binary search, so time zones and daylight saving have one source of truth and every
pool gives the same answer.
"""

import datetime
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from onnx_pipeline.arrow import mask, to_numpy
from onnx_pipeline.errors import PartitionError, SpecError
from onnx_pipeline.hints import closest
from onnx_pipeline.spec import PartitionSpec, ScoringSpec

if TYPE_CHECKING:
    from onnx_pipeline.pools.base import Pool, Source

__all__ = ["WHOLE", "Fingerprint", "Inventory", "Partitioning", "partitioning"]

WHOLE = "all"
"""`partition_key` of the one slice of a scoring without partitions."""

CHUNK = 64
"""Most partitions that one statement reads: each keeps one staging file open."""

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether a slice changed: its row count and, where the spec names it, the largest `changed` as text."""

    rows: int
    changed: str | None = None


@dataclass
class Inventory:
    """What the source holds, per partition; empty partitions are absent."""

    slices: dict[str, Fingerprint] = field(default_factory=dict)
    unplaced: int = 0
    """Rows that belong to no partition and never will: the partition column is NULL, or none of `values`."""
    early: int = 0
    """Rows before the first partition."""
    late: int = 0
    """Rows after the last partition that can be scored now."""


class Partitioning(ABC):
    """The partitions of one scoring."""

    definition: dg.PartitionsDefinition[str] | None

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Every partition key, in order."""

    @abstractmethod
    def marker(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any] | None:
        """What a statement selects so that `place` can tell a row's partition; None where there is one slice only."""

    @abstractmethod
    def predicate(self, source: "Source", pool: "Pool", keys: Sequence[str]) -> sa.ColumnElement[bool] | None:
        """Which rows lie in `keys` (neighbours, see `chunks`); None for every row."""

    @abstractmethod
    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        """`[N]` markers → `[N]` int64 indexes into `keys`; -1 before or outside them, -2 NULL, `len(keys)` after."""

    def group(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any] | None:
        """What the inventory groups by: as coarse as possible while every group lies within one partition."""
        return self.marker(source, pool)

    def check(self, keys: Sequence[str]) -> None:
        """Raise `PartitionError` for a key that does not exist."""
        known = self._known()
        for key in keys:
            if key not in known:
                raise PartitionError(f"there is no partition {key!r}; {self._advice(key)}")

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


class WholeTable(Partitioning):
    """One slice: the whole source."""

    definition = None

    def keys(self) -> Sequence[str]:
        return (WHOLE,)

    def marker(self, source: "Source", pool: "Pool") -> None:
        return None

    def predicate(self, source: "Source", pool: "Pool", keys: Sequence[str]) -> None:
        return None

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        return np.zeros(len(markers), dtype=np.int64)


class ValuePartitioning(Partitioning):
    """Partitions are listed values of a column."""

    def __init__(self, spec: PartitionSpec) -> None:
        assert spec.values is not None
        assert spec.column is not None
        self._column = spec.column
        self._keys = tuple(str(value) for value in spec.values)
        self.definition = dg.StaticPartitionsDefinition(list(self._keys))

    def keys(self) -> Sequence[str]:
        return self._keys

    def marker(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any]:
        return source.column(self._column, role="partitions.column")

    def _typed(self, keys: Sequence[str], arrow: pa.DataType) -> pa.Array:
        try:
            return pa.array(keys, pa.string()).cast(arrow)
        except pa.ArrowInvalid as error:
            raise SpecError(
                f"partitions.values {list(keys)} cannot all be read as {arrow}, the type of column {self._column!r}"
            ) from error

    def predicate(self, source: "Source", pool: "Pool", keys: Sequence[str]) -> sa.ColumnElement[bool]:
        column = self.marker(source, pool)
        arrow = source.schema.field(source.name(self._column)).type
        every = self._typed(self._keys, arrow)
        if len(every.unique()) < len(every):
            raise SpecError(
                f"partitions.values {list(self._keys)} name the same {arrow} twice, and its rows would be loaded twice"
            )
        return column.in_(self._typed(keys, arrow).to_pylist())

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        if pa.types.is_dictionary(markers.type):
            markers = markers.dictionary_decode()
        indexes = pc.fill_null(pc.index_in(markers, value_set=self._typed(keys, markers.type)), -1)
        codes = to_numpy(indexes).astype(np.int64)
        if markers.null_count:
            codes[mask(markers)] = -2
        return codes


class BucketPartitioning(Partitioning):
    """Partitions are hash buckets of the key, `bucket_00` to `bucket_<n-1>`; the pool computes the hash."""

    def __init__(self, spec: PartitionSpec, key: Sequence[str]) -> None:
        assert spec.buckets is not None
        self._key = tuple(key)
        self._buckets = spec.buckets
        width = len(str(spec.buckets - 1))
        self._keys = tuple(f"bucket_{index:0{width}d}" for index in range(spec.buckets))
        self.definition = dg.StaticPartitionsDefinition(list(self._keys))

    def keys(self) -> Sequence[str]:
        return self._keys

    def marker(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any]:
        return pool.bucket([source.column(name, role="key") for name in self._key], self._buckets)

    def predicate(self, source: "Source", pool: "Pool", keys: Sequence[str]) -> sa.ColumnElement[bool]:
        return self.marker(source, pool).in_([self._number(key) for key in keys])

    @staticmethod
    def _number(key: str) -> int:
        return int(key.removeprefix("bucket_"))

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        index_of = np.full(self._buckets, -1, dtype=np.int64)
        index_of[[self._number(key) for key in keys]] = np.arange(len(keys))
        codes: Codes = index_of[to_numpy(markers.cast(pa.int64()))]
        return codes


class TimePartitioning(Partitioning):
    """Partitions are hours, days, weeks or months of a DATE, TIMESTAMP or TIMESTAMP WITH TIME ZONE column."""

    definition: dg.TimeWindowPartitionsDefinition

    def __init__(self, spec: PartitionSpec) -> None:
        assert spec.column is not None
        assert spec.every is not None
        assert spec.start is not None
        self._column = spec.column
        self._every = spec.every
        self._zone = ZoneInfo(spec.timezone)
        start: Any = spec.start
        common: dict[str, Any] = {"timezone": spec.timezone, "end_offset": spec.end_offset}
        try:
            if spec.every == "hour":
                start = f"{start}-00:00" if len(spec.start) == len("2026-01-01") else spec.start
                self.definition = dg.HourlyPartitionsDefinition(start_date=start, **common)
            elif spec.every == "day":
                self.definition = dg.DailyPartitionsDefinition(start_date=start, **common)
            elif spec.every == "week":
                self.definition = dg.WeeklyPartitionsDefinition(start_date=start, day_offset=spec.day_offset, **common)
            else:
                # Dagster counts days of the month from 1; `day_offset` from 0, as for weeks.
                self.definition = dg.MonthlyPartitionsDefinition(
                    start_date=start, day_offset=spec.day_offset + 1, **common
                )
        except (ValueError, dg.DagsterInvalidDefinitionError) as error:
            raise SpecError(f"partitions.start {spec.start!r} cannot begin {spec.every} partitions: {error}") from error

    def keys(self) -> Sequence[str]:
        return self.definition.get_partition_keys()

    def check(self, keys: Sequence[str]) -> None:
        for key in keys:
            if not self._has(key):
                raise PartitionError(f"there is no partition {key!r}; {self._advice(key)}")

    def _has(self, key: str) -> bool:
        if not self.definition.has_partition_key(key):
            return False
        # Dagster also takes a time within an hour for a key, `2026-01-01-00:30`: its rows would be loaded twice.
        start = self.definition.time_window_for_partition_key(key).start
        return self.definition.get_partition_key_for_timestamp(start.timestamp()) == key

    def _advice(self, key: str) -> str:
        first, last = self.definition.get_first_partition_key(), self.definition.get_last_partition_key()
        if first is None:
            return "the first partition is not complete yet: see `start` and `end_offset`"
        return (
            f"{self._every} partitions look like {first!r}, and go from there to {last!r}. "
            "`partitions.start` and `partitions.end_offset` decide where they begin and end"
        )

    def previous(self, key: str) -> str | None:
        window = self.definition.get_prev_partition_window(self.definition.time_window_for_partition_key(key).start)
        if window is None:
            return None
        return self.definition.get_partition_key_range_for_time_window(window).start

    def chunks(self, keys: Sequence[str]) -> Iterator[list[str]]:
        chunk: list[str] = []
        end: datetime.datetime | None = None
        for key in keys:
            window = self.definition.time_window_for_partition_key(key)
            if chunk and (len(chunk) == CHUNK or window.start != end):
                yield chunk
                chunk = []
            chunk.append(key)
            end = window.end
        if chunk:
            yield chunk

    def marker(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any]:
        self._check_type(source)
        return source.column(self._column, role="partitions.column")

    def group(self, source: "Source", pool: "Pool") -> sa.ColumnElement[Any]:
        column, arrow = self.marker(source, pool), self._check_type(source)
        if pa.types.is_date(arrow):
            return column
        # No time zone in use is further than a quarter of an hour from a whole hour.
        whole_days = arrow.tz is None and self._every != "hour"
        return pool.truncate(column, "day" if whole_days else "quarter_hour")

    def _check_type(self, source: "Source") -> pa.DataType:
        arrow = source.schema.field(source.name(self._column)).type
        if pa.types.is_date(arrow):
            if self._every == "hour":
                raise SpecError(
                    f"column {self._column!r} is a DATE and has no hours: partition it by day, week or month"
                )
        elif not pa.types.is_timestamp(arrow):
            raise SpecError(
                f"column {self._column!r} is {arrow}, and time partitions need a DATE or TIMESTAMP: "
                "cast it in a `query`, or use `values` or `buckets`"
            )
        elif arrow.tz is None and self._every == "hour" and _shifts(self._zone, self.definition.start.year):
            raise SpecError(
                f"column {self._column!r} has no time zone, and an hour of {self._zone.key} happens twice when "
                "daylight saving ends: use `timezone: UTC`, or a column with a time zone"
            )
        return arrow

    def _bound(self, instant: datetime.datetime, arrow: pa.DataType) -> datetime.date:
        local = instant.astimezone(self._zone)
        if pa.types.is_date(arrow):
            return local.date()
        return local.replace(tzinfo=None) if arrow.tz is None else instant.astimezone(datetime.timezone.utc)

    def predicate(self, source: "Source", pool: "Pool", keys: Sequence[str]) -> sa.ColumnElement[bool]:
        column, arrow = self.marker(source, pool), self._check_type(source)
        start = self.definition.time_window_for_partition_key(keys[0]).start
        end = self.definition.time_window_for_partition_key(keys[-1]).end
        return sa.and_(column >= self._bound(start, arrow), column < self._bound(end, arrow))

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        zoned = not pa.types.is_date(markers.type) and markers.type.tz is not None
        edges = _edges(self.definition, tuple(keys), None if zoned else self._zone)
        if pa.types.is_date(markers.type):
            markers = markers.cast(pa.timestamp("us"))
        values = markers.cast(pa.timestamp("us", markers.type.tz)).view(pa.int64())
        codes: Codes = np.searchsorted(edges, to_numpy(values), side="right").astype(np.int64) - 1
        if values.null_count:
            codes[mask(values)] = -2
        return codes


@lru_cache(maxsize=16)
def _edges(definition: dg.TimeWindowPartitionsDefinition, keys: tuple[str, ...], zone: ZoneInfo | None) -> Codes:
    """`[len(keys) + 1]` ascending microseconds since 1970: where each partition begins, and where the last one ends.

    In UTC, or, given a zone, on its wall clock.
    """
    windows = definition.time_windows_for_partition_keys(frozenset(keys)) if len(keys) > 1 else None
    if windows is None or len(windows) != len(keys):
        windows = [definition.time_window_for_partition_key(key) for key in keys]
    instants = [window.start for window in windows] + [windows[-1].end]
    if zone is not None:
        walls = [instant.astimezone(zone).replace(tzinfo=datetime.timezone.utc) for instant in instants]
        instants = walls
    return np.array([round(instant.timestamp()) * 1_000_000 for instant in instants], dtype=np.int64)


def _shifts(zone: ZoneInfo, since: int) -> bool:
    """Whether clocks there changed in any year since `since`, or will in this one."""
    this_year = datetime.datetime.now(tz=zone).year
    firsts = (
        datetime.datetime(year, month, 1, tzinfo=zone) for year in range(since, this_year + 1) for month in range(1, 13)
    )
    return len({first.utcoffset() for first in firsts}) > 1


def partitioning(spec: ScoringSpec) -> Partitioning:
    """The partitions that a spec describes."""
    partition_spec = spec.partition_spec
    if partition_spec is None:
        return WholeTable()
    if partition_spec.kind == "time":
        return TimePartitioning(partition_spec)
    if partition_spec.kind == "values":
        return ValuePartitioning(partition_spec)
    return BucketPartitioning(partition_spec, spec.key)
