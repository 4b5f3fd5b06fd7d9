"""The attribute `partitions`: how the source is cut."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from pydantic import Field, field_validator, model_validator

from onnx_pipeline.spec.listed_values import listed, resolve_values
from onnx_pipeline.spec.part import SpecPart

__all__ = ["PartitionSpec"]


class PartitionSpec(SpecPart):
    """How the source is cut into slices: by time, by listed values, or by hash buckets of the key."""

    column: str | None = Field(None, description="Column that decides a row's partition (for `every` and `values`).")
    every: Literal["hour", "day", "week", "month"] | None = Field(
        None, description="Length of a time partition. Weeks begin on Sunday unless `day_offset` says otherwise."
    )
    start: str | None = Field(None, description="First instant of the first time partition: `2026-01-01`.")
    timezone: str = Field(
        "UTC",
        description="Time zone in which hours, days, weeks and months begin. A column without a time zone is "
        "read as wall-clock time there.",
    )
    end_offset: int = Field(
        0, description="How many partitions past the last complete one can be scored; 1 reaches into today."
    )
    day_offset: int = Field(
        0, description="Day on which a week (0 = Sunday, 1 = Monday) or a month (0 = the 1st) begins."
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
                "Leave partitions out to score the table as one slice"
            )
        if self.buckets is None and self.column is None:
            raise ValueError(f"partitions with `{kinds[0]}` needs `column`")
        if self.buckets is not None and self.column is not None:
            raise ValueError("partitions with `buckets` hashes the key: leave `column` out")
        if self.every is not None and self.start is None:
            raise ValueError("partitions with `every` needs `start`, the first instant: start: 2026-01-01")
        if self.every is None and self.start is not None:
            raise ValueError("`start` belongs to partitions with `every`")
        if self.day_offset and self.every not in ("week", "month"):
            raise ValueError("`day_offset` belongs to weeks and months")
        if self.values is not None:
            texts = [str(value) for value in self.values]
            # As they are compared: blanks at the end do not count.
            if not texts or len({text.rstrip(" ") for text in texts}) != len(texts):
                raise ValueError(f"values must be distinct and at least one; got {texts}")
        return self

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
