"""Partitions of time.

Dagster decides which partitions exist and where a day begins: boundaries come from its own windows, so time zones and
daylight saving have one source of truth.
"""

import datetime
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import mask, to_numpy
from onnx_pipeline.base.errors import PartitionError, SpecError
from onnx_pipeline.partitions.base import CHUNK, Codes, Partitioning, way_of
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.partitions import PartitionSpec

__all__ = ["TimePartitioning"]


class TimePartitioning(Partitioning):
    """Partitions are hours, days, weeks or months of a DATE, TIMESTAMP or TIMESTAMP WITH TIME ZONE column."""

    definition: dg.TimeWindowPartitionsDefinition
    ordered = True

    def __init__(self, spec: PartitionSpec) -> None:
        assert spec.column is not None
        assert spec.every is not None
        assert spec.start is not None
        self._column = spec.column
        self._every = spec.every
        self._zone = ZoneInfo(spec.timezone)
        self._day_offset = spec.day_offset
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

    def check_source(self, source: Source) -> None:
        self._check_type(source)

    def way(self, source: Source) -> str:
        grid: dict[str, str | int] = {"every": self._every, "timezone": self._zone.key}
        if self._day_offset:
            grid["day_offset"] = self._day_offset
        return way_of("time", column=source.name(self._column, role="partitions.column"), **grid)

    def may_have_had(self, key: str) -> bool:
        try:
            start = self.definition.time_window_for_partition_key(key).start
        except ValueError:
            return False
        # Also before the first partition and after the last one, Dagster knows the boundary that follows a time.
        return self.definition.get_partition_key_for_timestamp(start.timestamp()) == key

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

    def marker(self, source: Source, pool: Pool) -> sa.ColumnElement[Any]:
        self._check_type(source)
        return source.column(self._column, role="partitions.column")

    def group(self, source: Source, pool: Pool) -> sa.ColumnElement[Any]:
        column, arrow = self.marker(source, pool), self._check_type(source)
        if pa.types.is_date(arrow):
            return column
        # No time zone in use is further than a quarter of an hour from a whole hour.
        whole_days = arrow.tz is None and self._every != "hour"
        return pool.truncate(column, "day" if whole_days else "quarter_hour")

    def _check_type(self, source: Source) -> pa.DataType:
        arrow = source.schema.field(source.name(self._column, role="partitions.column")).type
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

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool]:
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
