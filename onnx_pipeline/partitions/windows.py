"""Where partitions of time begin and end, as Dagster has it, and in the values of a column.

Boundaries come from Dagster's own windows, so time zones and daylight saving have one source of truth.
"""

import datetime
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.instants import PER_SECOND
from onnx_pipeline.partitions.base import Codes
from onnx_pipeline.spec.partitions import PartitionSpec

__all__ = [
    "bound",
    "boundaries",
    "boundary_before",
    "definition_of",
    "edges_of",
    "keys_until",
    "next_boundary",
    "utc_hours",
]


def definition_of(
    spec: PartitionSpec, role: str, start: str | datetime.datetime, *, end: datetime.datetime | None = None
) -> dg.TimeWindowPartitionsDefinition:
    """Dagster's partitions from `start` on, which may be no boundary; `role` is the attribute that it comes from."""
    common: dict[str, Any] = {"timezone": spec.timezone, "end_offset": spec.end_offset, "end_date": end}
    try:
        if spec.every == "hour":
            of_day = isinstance(start, str) and len(start) == len("2026-01-01")
            return dg.HourlyPartitionsDefinition(start_date=f"{start}-00:00" if of_day else start, **common)
        if spec.every == "day":
            return dg.DailyPartitionsDefinition(start_date=start, **common)
        if spec.every == "week":
            return dg.WeeklyPartitionsDefinition(start_date=start, day_offset=spec.day_offset, **common)
        # Dagster counts days of the month from 1; `day_offset` from 0, as for weeks.
        return dg.MonthlyPartitionsDefinition(start_date=start, day_offset=spec.day_offset + 1, **common)
    except (ValueError, dg.DagsterInvalidDefinitionError) as error:
        does = "begin" if role == "start" else "end"
        # What is no date is told by strptime with a format, to which Dagster has put a zone.
        why = f"there is no such date; {_written(spec)}" if isinstance(error, ValueError) else str(error)
        raise SpecError(f"partitions.{role} {start!r} cannot {does} {spec.every} partitions: {why}") from error


def _written(spec: PartitionSpec) -> str:
    hour = ", or an hour as 2026-01-31-06:00" if spec.every == "hour" else ""
    return f"write one as 2026-01-31{hour}"


def next_boundary(definition: dg.TimeWindowPartitionsDefinition, instant: datetime.datetime) -> datetime.datetime:
    """The first boundary at or after an instant."""
    window = definition.get_next_partition_window(instant, respect_bounds=False)
    assert window is not None
    return window.start


def boundary_before(definition: dg.TimeWindowPartitionsDefinition, boundary: datetime.datetime) -> datetime.datetime:
    window = definition.get_prev_partition_window(boundary, respect_bounds=False)
    assert window is not None
    return window.start


@lru_cache(maxsize=16)
def keys_until(definition: dg.TimeWindowPartitionsDefinition, last: str) -> tuple[str, ...]:
    """All keys while `last` is the last one."""
    if not utc_hours(definition):
        return tuple(definition.get_partition_keys())
    end = int(definition.time_window_for_partition_key(last).end.timestamp())
    hours = np.arange(int(definition.start.timestamp()), end, _HOUR).astype("datetime64[s]")
    return tuple(text.replace("T", "-") for text in np.datetime_as_string(hours, unit="m").tolist())


_HOUR = 3600


def utc_hours(definition: dg.TimeWindowPartitionsDefinition) -> bool:
    """Whether partitions are the hours of UTC, which no clock shifts.

    Years of them are listed by arithmetic: Dagster steps from one to the next, which takes seconds for 57,000.
    """
    return (
        definition.cron_schedule == "0 * * * *"
        and definition.timezone == "UTC"
        and definition.fmt == "%Y-%m-%d-%H:%M"
        and definition.start.timestamp() % _HOUR == 0
    )


_FIRST_NS = datetime.datetime(1677, 9, 21, 0, 12, 44)  # noqa: DTZ001 - on the wall
_LAST_NS = datetime.datetime(2262, 4, 11, 23, 47, 16)  # noqa: DTZ001 - on the wall
"""What a count of nanoseconds reaches: a pool does not compare such a column with a moment beyond."""


def bound(instant: datetime.datetime, arrow: pa.DataType, zone: ZoneInfo) -> datetime.date:
    """An instant as values of a column are compared with it: a day, a moment on the wall, or one in UTC."""
    local = instant.astimezone(zone)
    if pa.types.is_date(arrow):
        return local.date()
    if arrow.tz is not None:
        return instant.astimezone(datetime.timezone.utc)
    wall = local.replace(tzinfo=None)
    return min(max(wall, _FIRST_NS), _LAST_NS) if arrow.unit == "ns" else wall


@lru_cache(maxsize=16)
def edges_of(
    definition: dg.TimeWindowPartitionsDefinition, keys: tuple[str, ...], arrow: pa.DataType, zone: ZoneInfo
) -> Codes:
    """`[len(keys) + 1]` ascending: where each partition begins and the last one ends, then `until` where there is one.

    In `ticks` of `arrow`. Of no keys, where the first partition will begin.
    """
    if keys and utc_hours(definition) and pa.types.is_timestamp(arrow):
        return _hourly_edges(definition, keys, arrow)
    instants = boundaries(definition, keys)
    return np.array([_tick(bound(instant, arrow, zone), arrow) for instant in instants], dtype=np.int64)


def _hourly_edges(definition: dg.TimeWindowPartitionsDefinition, keys: tuple[str, ...], arrow: pa.DataType) -> Codes:
    first = definition.time_window_for_partition_key(keys[0]).start
    seconds = int(first.timestamp()) + _HOUR * np.arange(len(keys) + 1)
    if definition.end is not None:
        seconds = np.append(seconds, int(definition.end.timestamp()))
    if arrow.unit == "ns":
        seconds = seconds.clip(_tick(_FIRST_NS, pa.timestamp("s")), _tick(_LAST_NS, pa.timestamp("s")))
    edges: Codes = seconds * PER_SECOND[arrow.unit]
    return edges


@lru_cache(maxsize=16)
def boundaries(definition: dg.TimeWindowPartitionsDefinition, keys: tuple[str, ...]) -> Sequence[datetime.datetime]:
    """`[len(keys) + 1]` instants: where each partition begins and the last one ends, then `until` where there is one.

    `keys` are neighbours. Raises SpecError where Dagster's partitions leave time out or share it.
    """
    end = definition.end
    if not keys:
        return [definition.start] if end is None else [definition.start, end]
    windows = definition.time_windows_for_partition_keys(frozenset(keys)) if len(keys) > 1 else None
    if windows is None or len(windows) != len(keys):
        windows = [definition.time_window_for_partition_key(key) for key in keys]
    for key, window, following in zip(keys, windows, windows[1:], strict=False):
        # Of a day that clocks left out Dagster makes a window without length, or the next day's once more.
        if not window.start.timestamp() < window.end.timestamp() == following.start.timestamp():
            raise _uneven(definition, key, window, f"the next one begins on {following.start.isoformat()}")
    last = windows[-1].end
    if end is None:
        return [*(window.start for window in windows), last]
    if last.timestamp() > end.timestamp():
        raise _uneven(definition, keys[-1], windows[-1], f"`until` is {end.isoformat()}")
    return [*(window.start for window in windows), last, end]


def _uneven(
    definition: dg.TimeWindowPartitionsDefinition, key: str, window: dg.TimeWindow, otherwise: str
) -> SpecError:
    return SpecError(
        f"the partition {key!r} goes from {window.start.isoformat()} to {window.end.isoformat()}, and {otherwise}: "
        f"clocks in {definition.timezone} changed by a whole day or within an hour, which Dagster's partitions do not "
        "follow, so that rows would be lost or scored twice. Use `timezone: UTC`, or a `start` after that or an "
        "`until` before it"
    )


_DAY_MILLISECONDS = 86_400_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _tick(bound: datetime.date, arrow: pa.DataType) -> int:
    if not isinstance(bound, datetime.datetime):
        days = (bound - _EPOCH.date()).days
        return days if pa.types.is_date32(arrow) else days * _DAY_MILLISECONDS
    aware = bound if bound.tzinfo is not None else bound.replace(tzinfo=datetime.timezone.utc)
    return (aware - _EPOCH) // datetime.timedelta(seconds=1) * PER_SECOND[arrow.unit]
