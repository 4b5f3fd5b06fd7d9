"""Hospital encounters: the sample's source table, generated.

The same arguments give the same rows, as far as numpy's generators keep their streams (1.26 and 2.4 agree).
A day depends only on its date, the number of rows and the seed, so a table can be extended by
later days, and one day regenerated, without touching the others.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.sample.patients import draw_patients

__all__ = [
    "BATCH_ROWS",
    "CATEGORIES",
    "FLAGS",
    "MAX_ROWS_PER_DAY",
    "NULL_RATES",
    "NUMBERS",
    "TREE_FEATURES",
    "generate",
    "schema",
]

CATEGORIES = MappingProxyType(
    {
        "facility": ("Harbor", "Hillcrest", "Lakeview", "Northside", "Riverside"),
        "gender": ("F", "M"),
        "admission_type": ("elective", "emergency", "urgent"),
    }
)
"""String features and the values they take; never NULL."""

VITALS = (
    "heart_rate",  # beats/min
    "systolic_bp",  # mmHg
    "diastolic_bp",  # mmHg
    "respiratory_rate",  # breaths/min
    "temperature",  # °C
    "oxygen_saturation",  # %
    "bmi",  # kg/m²
)
LABS = (
    "hematocrit",  # %
    "neutrophils",  # 10⁹/L
    "sodium",  # mmol/L
    "potassium",  # mmol/L
    "glucose",  # mg/dL
    "blood_urea_nitrogen",  # mg/dL
    "creatinine",  # mg/dL
)
FLAGS = (
    "dialysis",
    "asthma",
    "iron_deficiency",
    "pneumonia",
    "substance_dependence",
    "depression",
    "malnutrition",
    "hemoglobin_disorder",
    "heart_failure",
    "diabetes",
    "fibrosis",
)
NUMBERS = ("age", *VITALS, *LABS, "readmission_count")
TREE_FEATURES = (*NUMBERS, *FLAGS)
"""The 27 numbers and flags, in the order of the length-of-stay model's tensor."""

NULL_RATES = MappingProxyType(
    {
        "temperature": 0.01,
        "bmi": 0.04,
        "hematocrit": 0.02,
        "neutrophils": 0.03,
        "sodium": 0.01,
        "potassium": 0.01,
        "glucose": 0.02,
        "blood_urea_nitrogen": 0.02,
        "creatinine": 0.02,
    }
)
"""Share of rows that are NULL, whatever else the row holds; columns not named here are never NULL."""

schema = pa.schema(
    [
        pa.field("encounter_id", pa.int64(), nullable=False),
        pa.field("admitted_on", pa.date32(), nullable=False),
        pa.field("updated_at", pa.timestamp("us"), nullable=False),  # UTC, without a zone, as pools store it
        *(pa.field(name, pa.string(), nullable=False) for name in CATEGORIES),
        pa.field("age", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=name in NULL_RATES) for name in VITALS),
        *(pa.field(name, pa.float64(), nullable=name in NULL_RATES) for name in LABS),
        *(pa.field(name, pa.bool_(), nullable=False) for name in FLAGS),
        pa.field("readmission_count", pa.int32(), nullable=False),
    ]
)
"""The columns of `encounters`: key, partition column, change column, then the 30 features."""

BATCH_ROWS = 65_536
"""Rows of the largest batch, about 9 MB: a day of any size is generated in constant memory."""

MAX_ROWS_PER_DAY = 100_000_000
"""An encounter_id is the date and eight digits, YYYYMMDDnnnnnnnn: readable, and exact in JSON."""


def generate(
    days: int, rows_per_day: int, *, start: date = date(2026, 1, 1), seed: int = 7
) -> Iterator[pa.RecordBatch]:
    """Yield `days` times `rows_per_day` encounters in batches of `schema`, in order of encounter_id.

    A batch never crosses midnight and holds at most `BATCH_ROWS` rows; it is generated when it is asked for.

    Raises SpecError, at the call, when a number is negative or a day holds more than `MAX_ROWS_PER_DAY` rows.
    """
    for name, value in {"days": days, "rows_per_day": rows_per_day, "seed": seed}.items():
        if value < 0:
            raise SpecError(f"{name} is {value}, so there is nothing to generate: give 0 or more.")
    if rows_per_day > MAX_ROWS_PER_DAY:
        raise SpecError(
            f"rows_per_day is {rows_per_day:,}, but an encounter_id has room for {MAX_ROWS_PER_DAY:,} a day"
            " and would repeat: spread the rows over more days."
        )
    return (
        _batch(start + timedelta(days=day), first, min(BATCH_ROWS, rows_per_day - first), seed)
        for day in range(days)
        for first in range(0, rows_per_day, BATCH_ROWS)
    )


def _batch(day: date, first: int, rows: int, seed: int) -> pa.RecordBatch:
    """Rows `first` to `first + rows` of one day."""
    generator = np.random.default_rng([seed, day.toordinal(), first])
    patients = draw_patients(generator, rows)
    columns: dict[str, pa.Array] = {}
    for field in schema:
        if field.name in CATEGORIES:
            values = pa.array(CATEGORIES[field.name], pa.string())
            columns[field.name] = values.take(pa.array(patients[field.name]))
        elif field.name in patients:
            missing = None
            if field.name in NULL_RATES:
                missing = generator.random(rows, dtype=np.float32) < NULL_RATES[field.name]
            columns[field.name] = pa.array(patients[field.name], field.type, mask=missing)
    number = int(day.strftime("%Y%m%d")) * MAX_ROWS_PER_DAY + first
    columns["encounter_id"] = pa.array(np.arange(number, number + rows, dtype=np.int64))
    columns["admitted_on"] = pa.repeat(pa.scalar(day, pa.date32()), rows)
    columns["updated_at"] = pa.array(_updated_at(generator, day, rows), pa.timestamp("us"))
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _updated_at(generator: np.random.Generator, day: date, rows: int) -> npt.NDArray[np.datetime64]:
    """datetime64[us] of shape [rows]: a second of the day, and 10 minutes to 2 hours of paperwork."""
    admitted = generator.integers(0, 24 * 60 * 60, rows, dtype=np.int32)
    paperwork = generator.integers(10 * 60, 2 * 60 * 60, rows, dtype=np.int32)
    return np.datetime64(day, "us") + (admitted + paperwork).astype("timedelta64[s]")
