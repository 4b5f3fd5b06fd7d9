"""Partitions of time.

Dagster decides which partitions exist and where a day begins: boundaries come from its own windows, so time zones and
daylight saving have one source of truth.
"""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.base.arrow import mask
from onnx_pipeline.base.errors import PartitionError, SpecError
from onnx_pipeline.base.instants import ticks
from onnx_pipeline.partitions.base import CHUNK, Codes, Partitioning, way_of
from onnx_pipeline.partitions.windows import (
    bound,
    boundaries,
    boundary_before,
    definition_of,
    edges_of,
    keys_until,
    next_boundary,
    utc_hours,
)
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.partitions import PartitionSpec

__all__ = ["TimePartitioning"]

_QUARTER_SECONDS = 900

_A = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}


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
        notes = []
        said = definition_of(spec, "start", spec.start)
        begin = next_boundary(said, said.start)
        if begin.timestamp() > said.start.timestamp():
            begin = boundary_before(said, begin)
            notes.append(
                f"partitions.start {spec.start!r} is no beginning of {_A[spec.every]}: the first partition is the one "
                f"that it lies in, and begins on {self._shown(begin)}"
            )
            said = definition_of(spec, "start", begin)
        self.definition = self._unended = said
        if spec.until is not None:
            end = definition_of(spec, "until", spec.until).start
            boundary = next_boundary(said, end)
            if boundary.timestamp() > end.timestamp():
                notes.append(
                    f"partitions.until {spec.until!r} is no beginning of {_A[spec.every]}: the last partition is the "
                    f"one that it lies in, and ends on {self._shown(boundary)}"
                )
            self.definition = definition_of(spec, "start", begin, end=boundary)
        self.notes = tuple(notes)

    def _shown(self, boundary: datetime.datetime) -> str:
        return f"{boundary:%Y-%m-%d %H:%M}" if self._every == "hour" else f"{boundary:%Y-%m-%d}"

    def check_source(self, source: Source) -> None:
        self._check_type(source)

    def way(self, source: Source) -> str:
        grid: dict[str, str | int] = {"every": self._every, "timezone": self._zone.key}
        if self._day_offset:
            grid["day_offset"] = self._day_offset
        return way_of("time", column=source.name(self._column, role="partitions.column"), **grid)

    def may_have_had(self, key: str) -> bool:
        try:
            start = self._unended.time_window_for_partition_key(key).start
        except ValueError:
            return False
        # Also before the first partition and after the last one, Dagster knows the boundary that follows a time.
        return self._unended.get_partition_key_for_timestamp(start.timestamp()) == key

    def keys(self) -> Sequence[str]:
        last = self.definition.get_last_partition_key()
        return () if last is None else keys_until(self.definition, last)

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
        decides = "`partitions.start` and `partitions.end_offset` decide where they begin and end"
        if self.definition.end is not None:
            decides = "`partitions.start`, `until` and `end_offset` decide where they begin and end"
        return f"{self._every} partitions look like {first!r}, and go from there to {last!r}. {decides}"

    def compared_with(self, key: str) -> str | None:
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
        if arrow.tz is None and self._every != "hour":
            return pool.truncate(column, "day")
        if utc_hours(self.definition):
            return pool.truncate(column, "quarter_hour")
        # Every time zone of today is a multiple of a quarter of an hour away; others were by seconds.
        edges = boundaries(self.definition, tuple(self.keys()))
        whole = all(edge.timestamp() % _QUARTER_SECONDS == 0 for edge in edges)
        return pool.truncate(column, "quarter_hour") if whole else column

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

    def predicate(self, source: Source, pool: Pool, keys: Sequence[str]) -> sa.ColumnElement[bool]:
        column, arrow = self.marker(source, pool), self._check_type(source)
        start = self.definition.time_window_for_partition_key(keys[0]).start
        end = self.definition.time_window_for_partition_key(keys[-1]).end
        return sa.and_(column >= bound(start, arrow, self._zone), column < bound(end, arrow, self._zone))

    def place(self, markers: pa.Array, keys: Sequence[str]) -> Codes:
        edges = edges_of(self.definition, tuple(keys), markers.type, self._zone)
        codes: Codes = np.searchsorted(edges, ticks(markers), side="right").astype(np.int64) - 1
        if markers.null_count:
            codes[mask(markers)] = -2
        return codes


def _shifts(zone: ZoneInfo, since: int) -> bool:
    """Whether clocks there changed in any year since `since`, or will in this one."""
    this_year = datetime.datetime.now(tz=zone).year
    firsts = (
        datetime.datetime(year, month, 1, tzinfo=zone) for year in range(since, this_year + 1) for month in range(1, 13)
    )
    return len({first.utcoffset() for first in firsts}) > 1
