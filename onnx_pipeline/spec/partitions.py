"""The attribute `partitions`: how the source is cut."""

import datetime
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from pydantic import Field, field_validator, model_validator

from onnx_pipeline.spec.listed_values import listed, resolve_values
from onnx_pipeline.spec.part import SpecPart

__all__ = ["PartitionSpec"]


class PartitionSpec(SpecPart):
    """How the source is cut into partitions: by time, by listed values, or by hash buckets of the key."""

    column: str | None = Field(None, description="Column that decides a row's partition (for `every` and `values`).")
    every: Literal["hour", "day", "week", "month"] | None = Field(
        None, description="Length of a time partition. Weeks begin on Sunday unless `day_offset` says otherwise."
    )
    start: str | None = Field(
        None,
        description="First instant of the first time partition: `2026-01-01`. One within a partition is moved back to "
        "where that begins. Rows before it have no partition: the check `rows_outside_partitions` counts them.",
    )
    until: str | None = Field(
        None,
        description="Ends a closed history: the first instant that has no partition any more, `2014-01-01`. One within "
        "a partition is moved on to where that ends. By default partitions go on with the clock.",
    )
    timezone: str = Field(
        "UTC",
        description="Time zone in which hours, days, weeks and months begin. A column without a time zone is "
        "read as wall-clock time there.",
    )
    end_offset: int = Field(
        0, description="How many partitions past the last complete one can be scored; 1 reaches into today."
    )
    day_offset: int = Field(
        0,
        description="Day on which a week (0 = Sunday, 1 = Monday, up to 6) or a month (0 = the 1st, up to 27 = the "
        "28th) begins.",
    )
    values: Annotated[
        Sequence[str | int] | None,
        dg.Resolver(
            resolve_values, model_field_type=list[str | int | bool | float] | None, inject_before_resolve=False
        ),
    ] = Field(
        None,
        description="The partitions, as values of `column`. A text is compared character by character, whatever the "
        "column's collation, and blanks at its end do not count; over a column of numbers a value is the number. "
        "Other rows, and NULL, belong to no partition.",
    )
    buckets: int | None = Field(None, description="Number of hash buckets of the key.", ge=1, le=10_000)

    @model_validator(mode="after")
    def _one_kind(self) -> "PartitionSpec":
        kinds = [name for name in ("every", "values", "buckets") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"partitions takes exactly one of every, values and buckets; got {kinds or 'none of them'}. "
                "Leave partitions out to score the table at once"
            )
        if self.buckets is None and self.column is None:
            raise ValueError(f"partitions with `{kinds[0]}` needs `column`")
        if self.buckets is not None and self.column is not None:
            raise ValueError("partitions with `buckets` hashes the key: leave `column` out")
        if self.every is not None and self.start is None:
            raise ValueError("partitions with `every` needs `start`, the first instant: start: 2026-01-01")
        if self.every is None and self.start is not None:
            raise ValueError("`start` belongs to partitions with `every`")
        if self.every is None and self.until is not None:
            raise ValueError("`until` belongs to partitions with `every`")
        if self.day_offset and self.every not in ("week", "month"):
            raise ValueError("`day_offset` belongs to weeks and months")
        self._check_day_offset()
        self._check_until()
        if self.values is not None:
            texts = [str(value) for value in self.values]
            # As they are compared: blanks at the end do not count.
            if not texts or len({text.rstrip(" ") for text in texts}) != len(texts):
                raise ValueError(f"values must be distinct and at least one; got {texts}")
        return self

    def _check_day_offset(self) -> None:
        if self.every == "week" and not 0 <= self.day_offset <= 6:
            raise ValueError(
                f"day_offset {self.day_offset} is no day of a week: 0 is Sunday, 1 Monday, and 6 Saturday. Write "
                "one of 0 to 6"
            )
        if self.every == "month" and not 0 <= self.day_offset <= 27:
            raise ValueError(
                f"day_offset {self.day_offset} is no day that every month has, and a month without it would become one "
                "partition with the month before: 0 is the 1st, and 27 the 28th. Write one of 0 to 27; where months "
                "began with another day until now, their partitions are scored anew"
            )

    def _check_until(self) -> None:
        # One that cannot be read is refused with the plan, where Dagster reads it.
        start, until = _wall(self.start), _wall(self.until)
        if start is not None and until is not None and until <= start:
            raise ValueError(
                f"until {self.until!r} is not after start {self.start!r}, so there is no partition between them: until "
                "is the first instant after the last partition. Write a later one, or leave it out"
            )

    @field_validator("values", mode="before")
    @classmethod
    def _partition_keys(cls, given: Any) -> Any:
        return given if given is None or isinstance(given, str) else [listed(value) for value in given]

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {value!r}: use an IANA name, e.g. Europe/Berlin or UTC") from error
        return value

    @property
    def kind(self) -> Literal["time", "values", "buckets"]:
        if self.every is not None:
            return "time"
        return "values" if self.values is not None else "buckets"


def _wall(text: str | None) -> datetime.datetime | None:
    """A `start` or `until` as a clock on the wall shows it; None where it is no date."""
    form = "%Y-%m-%d" if len(text or "") <= len("2026-01-01") else "%Y-%m-%d-%H:%M"
    try:
        return datetime.datetime.strptime(text or "", form)  # noqa: DTZ007 - of the partitions' own zone
    except ValueError:
        return None
