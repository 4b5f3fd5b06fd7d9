"""Dates and timestamps that Python's `datetime` may not hold: infinite ones, years beyond 9999, nanoseconds.

Arrow keeps each as an integer, in which infinity is the largest one and minus infinity its negative, as DuckDB and
PostgreSQL have it.
"""

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onnx_pipeline.base.arrow import to_numpy

__all__ = ["PER_SECOND", "as_python", "instant_text", "instant_texts", "is_instant", "ticks"]

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Units of an Arrow timestamp."""

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - of no zone
_DAY_MILLISECONDS = 86_400_000


def is_instant(arrow: pa.DataType) -> bool:
    """Whether values of that type are dates or timestamps."""
    return bool(pa.types.is_date(arrow) or pa.types.is_timestamp(arrow))


def ticks(instants: pa.Array) -> npt.NDArray[np.int64]:
    """`[N]` dates or timestamps → `[N]` int64: days or the type's own units since 1970; under a NULL anything."""
    if pa.types.is_date32(instants.type):
        return to_numpy(instants.view(pa.int32())).astype(np.int64)
    return to_numpy(instants.view(pa.int64()))


def instant_text(value: int, arrow: pa.DataType) -> str:
    """A date or timestamp, as `ticks` has it, in the form of ISO 8601; `infinity` and `-infinity` for infinite ones."""
    limit = 2**31 - 1 if pa.types.is_date32(arrow) else 2**63 - 1
    # By one less: the statistics of DuckDB's tables take minus infinity for the first day before it.
    if abs(value) >= limit - 1:
        return "infinity" if value > 0 else "-infinity"
    if pa.types.is_date(arrow):
        days = value if pa.types.is_date32(arrow) else value // _DAY_MILLISECONDS
        try:
            return (_EPOCH + datetime.timedelta(days=days)).date().isoformat()
        except OverflowError:
            return str(np.datetime64(days, "D"))
    zone = "" if arrow.tz is None else "+00:00"
    seconds, parts = divmod(value, PER_SECOND[arrow.unit])
    nanoseconds = parts * (PER_SECOND["ns"] // PER_SECOND[arrow.unit])
    try:
        moment = _EPOCH + datetime.timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        return f"{np.datetime64(value, arrow.unit)}{zone}"
    if nanoseconds % 1000:
        return f"{moment.isoformat(timespec='microseconds')}{nanoseconds % 1000:03d}{zone}"
    return moment.isoformat() + zone


def instant_texts(values: npt.NDArray[np.int64], arrow: pa.DataType) -> list[str]:
    """`[N]` ticks of a timestamp → their N texts, as `instant_text` has each."""
    per_second = PER_SECOND[arrow.unit]
    first, last = (int(np.datetime64(year, "s").astype(np.int64)) for year in ("0001", "9999"))
    seconds, parts = np.divmod(values, per_second)
    plain = (parts == 0) & (seconds >= first) & (seconds < last)
    zone = "" if arrow.tz is None else "+00:00"
    texts = np.datetime_as_string(np.where(plain, seconds, 0).astype("datetime64[s]")).tolist()
    return [
        text + zone if whole else instant_text(value, arrow)
        for text, whole, value in zip(texts, plain.tolist(), values.tolist(), strict=True)
    ]


def as_python(scalar: pa.Scalar) -> Any:
    """The value for people to read: as Python has it, or as text where Python has no such date."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        if not is_instant(scalar.type):
            raise
        return instant_text(scalar.value, scalar.type)
