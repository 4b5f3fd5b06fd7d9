"""The cells that every way in is asked with, and what they are: Python's own arithmetic says it."""

import datetime
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, SignatureError
from onnx_pipeline.engines import open_stream
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools import Pool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import refuse_nulls
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.extension import models

DTYPES = {
    "float": models.FLOAT, "double": models.DOUBLE, "float16": models.FLOAT16, "bool": models.BOOL,
    "string": models.STRING, "int8": models.INT8, "int32": models.INT32, "int64": models.INT64, "uint8": models.UINT8,
    "uint16": models.UINT16, "uint32": models.UINT32, "uint64": models.UINT64,
}  # fmt: skip
NUMPY = {**{name: np.dtype(name) for name in DTYPES if name[-1].isdigit()}, "float": np.dtype("float32"),
         "double": np.dtype("float64"), "bool": np.dtype(bool), "string": np.dtype(object)}  # fmt: skip
FLOATS = {"float", "double", "float16"}
SUBNORMAL = 2.0**-149
REALS = [
    None, math.nan, math.inf, -math.inf, -0.0, 0.0, 0.1, 1.5, 3.0, -1.0, 300.0, 16777217.0, SUBNORMAL, 65504.0, 65519.0,
]  # fmt: skip
DOUBLES = [
    *REALS, 65520.0, 1e39, -1e39, 3.4028235677973362e38, 3.4028235677973366e38, 5e-324, 1e-46, 1.7976931348623157e308,
    2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1 + 2.0**-11 + 2.0**-40,
]  # fmt: skip
CELLS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [None, True, False]),
    *((kind, [None, 0, 1, int(np.iinfo(str(kind)).min), int(np.iinfo(str(kind)).max)])
      for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())),
    (pa.int64(), [None, 0, -1, 127, 128, -129, 255, 256, 65535, 65536, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**63),
                  2**60 + 2**36 + 1]),
    (pa.uint64(), [None, 0, 2**63, 2**64 - 1]),
    (pa.float32(), [None if value is None else float(np.float32(value)) for value in REALS]),
    (pa.float64(), DOUBLES),
    (pa.decimal128(18, 2), [None, Decimal("1.15"), Decimal("-0.05"), Decimal("3.00"), Decimal("300.00"),
                            Decimal("9999999999999999.99"), Decimal("72057594037927.93")]),
    (pa.decimal128(38, 10), [Decimal("1234567890123456789.0123456789"), Decimal("0.0000000001"), Decimal("1.15")]),
    (pa.decimal128(38, 0), [Decimal(7), Decimal(2**63), Decimal(10**37), Decimal(-(2**63))]),
    (pa.string(), [None, "", "1", "é"]),
    (pa.date32(), [datetime.date(2026, 1, 1)]),
    (pa.timestamp("us"), [datetime.datetime(2026, 1, 1)]),
]  # fmt: skip

Way = Callable[[str, pa.DataType, Sequence[Any]], list[Any]]


class Kind(Enum):
    """Why a value is refused."""

    MISSING = "missing"
    VALUE = "value"
    TYPE = "type"


class Refused(Exception):
    """The way said no, and named the column."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


def truth(value: Any, arrow: pa.DataType, dtype: str) -> Any:
    """The element, or the kind of refusal."""
    if pa.types.is_string(arrow) != (dtype == "string") or pa.types.is_temporal(arrow):
        return Kind.TYPE
    if dtype == "bool" and not pa.types.is_boolean(arrow):
        return Kind.TYPE
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NUMPY[dtype].type(math.nan) if dtype in FLOATS else Kind.MISSING
    if dtype in {"string", "bool"}:
        return value
    if dtype in FLOATS:
        with np.errstate(all="ignore"):
            made = NUMPY[dtype].type(float(value))
        return Kind.VALUE if np.isinf(made) and not math.isinf(value) else made
    info = np.iinfo(dtype)
    whole = not (isinstance(value, float) and math.isinf(value)) and Fraction(value).denominator == 1
    return NUMPY[dtype].type(int(value)) if whole and info.min <= value <= info.max else Kind.VALUE


def same(found: Any, expected: Any, *, finite_only: bool) -> bool:
    """Bit for bit; where a way has no form for NaN and infinity, NULL stands for both."""
    if isinstance(expected, np.floating) and not np.isfinite(expected):
        if finite_only:
            return found is None
        return bool(np.isnan(found)) if np.isnan(expected) else found == expected
    if isinstance(expected, np.generic):
        return bool(type(expected)(found).tobytes() == expected.tobytes())
    return bool(found == expected and type(found) is type(expected))


def kind_of(error: Exception) -> str:
    assert "'x'" in str(error), f"the message names no column: {error}"
    if isinstance(error, NullFeatureError):
        return Kind.MISSING
    return Kind.VALUE if isinstance(error, FeatureValueError) else Kind.TYPE


def through_pipeline(pool: Pool, source: Any, model: OnnxModel, folder: Path) -> list[Any]:
    """The predictions for the rows `id`, `x` of a source, extracted, staged and scored as assets do it."""
    spec = ScoringSpec(name="s", onnx="m", source=source, key=["id"], target="scores", checks={"null_rate": 1.0})
    staging = Staging(folder)
    try:
        plan = ScoringPlan(spec, model, pool.source(spec))
        (piece,) = extract(plan, pool, staging, plan.partitioning.keys(), say=lambda text: None)
        refuse_nulls(plan, piece.partition_key, piece.rows, {}, piece.null_counts)
        with (
            staging.open("s", "features", piece.partition_key) as (_, reader),
            closing(open_stream(spec.engine, plan.task, RuntimeOptions())) as engine,
        ):
            return [value for _, arrays in engine.score(reader) for value in arrays[0].to_pylist()]
    except (NullFeatureError, FeatureValueError, SignatureError) as error:
        raise Refused(kind_of(error)) from error


HasForm = Callable[[pa.DataType, Any, str], bool]


def wrong_cells(
    score: Way, dtype: str, has_form: HasForm, *, finite_only: bool, every_refusal: bool = True
) -> tuple[list[tuple[Any, ...]], int]:
    """Which cells come out otherwise than the truth says, and how many were tried.

    `has_form` says which cells the way can be given; `finite_only` that it answers NULL for NaN and infinity.
    Refused cells are asked for one by one; without `every_refusal` only the first and the last of each type are.
    """
    wrong: list[tuple[Any, ...]] = []
    tried = 0
    for arrow, every in CELLS:
        cells = [(value, truth(value, arrow, dtype)) for value in every if has_form(arrow, value, dtype)]
        fitting = [(value, expected) for value, expected in cells if not isinstance(expected, Kind)]
        if fitting:
            found = score(dtype, arrow, [value for value, _ in fitting])
            wrong += [
                (str(arrow), value, outcome, expected)
                for (value, expected), outcome in zip(fitting, found, strict=True)
                if not same(outcome, expected, finite_only=finite_only)
            ]
        refused = [(value, expected) for value, expected in cells if isinstance(expected, Kind)]
        if refused and refused[0][1] is Kind.TYPE:
            refused = refused[-1:]  # no value of the column makes a difference
        elif not every_refusal:
            refused = [*refused[:1], *refused[1:][-1:]]
        for value, expected in refused:
            with pytest.raises(Refused) as refusal:
                wrong.append((str(arrow), value, score(dtype, arrow, [value]), expected))
            if refusal.value.kind is not expected:
                wrong.append((str(arrow), value, refusal.value.kind, expected))
        tried += len(fitting) + len(refused)
    return wrong, tried
