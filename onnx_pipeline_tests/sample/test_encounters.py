"""The generated table: what its rows promise to everybody who scores them."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.sample.encounters import (
    BATCH_ROWS,
    CATEGORIES,
    FLAGS,
    NULL_RATES,
    NUMBERS,
    TREE_FEATURES,
    generate,
    schema,
)

KEYS = ("encounter_id", "admitted_on", "updated_at")


def table(days: int, rows_per_day: int, *, start: date = date(2026, 1, 1), seed: int = 7) -> pa.Table:
    return pa.Table.from_batches(generate(days, rows_per_day, start=start, seed=seed), schema)


def on(rows: pa.Table, day: date) -> pa.Table:
    return rows.filter(pc.equal(rows["admitted_on"], pa.scalar(day)))


@pytest.fixture(scope="module")
def many() -> pa.Table:
    """200,000 rows over 5 days: enough to measure a share of 1 % to a tenth of it."""
    return table(5, 40_000)


def test_the_same_call_gives_the_same_rows() -> None:
    assert table(4, 300).equals(table(4, 300))


def test_another_seed_gives_other_patients_under_the_same_keys() -> None:
    first, second = table(1, 300), table(1, 300, seed=8)
    assert first["encounter_id"].equals(second["encounter_id"])
    assert not first["heart_rate"].equals(second["heart_rate"])


def test_a_day_is_the_same_however_many_days_surround_it() -> None:
    day = date(2026, 1, 3)
    alone = table(1, 200, start=day)
    assert alone.num_rows == 200
    assert on(table(3, 200), day).equals(alone)
    assert on(table(30, 200), day).equals(alone)


def test_no_two_days_have_the_same_patients() -> None:
    rows = table(2, 200)
    assert not on(rows, date(2026, 1, 1))["glucose"].equals(on(rows, date(2026, 1, 2))["glucose"])


def test_the_rows_are_those_that_the_shipped_models_and_the_documentation_were_made_with() -> None:
    rows = table(2, 500)
    digest = hashlib.sha256(repr(rows.to_pylist()).encode()).hexdigest()
    assert digest == "f2015cbda8a6a852aa1f6a1a3a3791bbafc7da806c7c3583e8f6e71e615be539"


@pytest.mark.parametrize(
    ("days", "rows_per_day", "batches"),
    [(0, 10, 0), (10, 0, 0), (1, 1, 1), (7, 123, 7), (1, BATCH_ROWS, 1), (2, BATCH_ROWS + 1, 4)],
)
def test_it_yields_as_many_rows_as_asked_for_in_batches_of_bounded_size(
    days: int, rows_per_day: int, batches: int
) -> None:
    sizes = []
    for batch in generate(days, rows_per_day):
        assert batch.schema.equals(schema)
        assert len(batch["admitted_on"].unique()) == 1, "a batch crosses midnight"
        sizes.append(batch.num_rows)
    assert len(sizes) == batches
    assert sum(sizes) == days * rows_per_day
    assert max(sizes, default=0) <= BATCH_ROWS


def test_nothing_is_generated_before_it_is_asked_for() -> None:
    endless: Iterator[pa.RecordBatch] = generate(2_000_000, 1_000_000)
    assert next(endless).num_rows == BATCH_ROWS


def test_both_parts_of_a_long_day_differ() -> None:
    first, second = generate(1, 2 * BATCH_ROWS)
    assert not first["heart_rate"].equals(second["heart_rate"])


def test_keys_are_unique_and_grow_with_the_day() -> None:
    ids = table(3, BATCH_ROWS + 500)["encounter_id"].to_numpy()
    assert (np.diff(ids) > 0).all()
    assert ids[0] == 2026010100000000
    assert ids[-1] == 2026010300000000 + BATCH_ROWS + 499
    assert ids[-1] < 2**53, "JSON would lose digits"


def test_days_follow_one_another_across_the_end_of_a_year() -> None:
    days = table(3, 1, start=date(2025, 12, 31))["admitted_on"].to_pylist()
    assert days == [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 2)]


def test_every_row_is_updated_within_a_day_and_two_hours_of_its_date(many: pa.Table) -> None:
    days, updates = many["admitted_on"].to_pylist(), many["updated_at"].to_pylist()
    midnights = [datetime.combine(day, datetime.min.time()) for day in days]
    delays = [update - midnight for midnight, update in zip(midnights, updates, strict=True)]
    assert min(delays) >= timedelta(minutes=10)
    assert max(delays) < timedelta(hours=26)


def test_the_columns_are_keys_then_thirty_features() -> None:
    assert schema.names[:3] == list(KEYS)
    assert sorted(schema.names[3:]) == sorted((*CATEGORIES, *NUMBERS, *FLAGS))
    assert len(schema) == 33
    assert len(TREE_FEATURES) == 27
    assert {str(field.type) for field in schema} == {
        "int64", "int32", "date32[day]", "timestamp[us]", "string", "float", "double", "bool"
    }  # fmt: skip


@pytest.mark.parametrize("column", schema.names)
def test_each_column_is_null_as_often_as_promised(many: pa.Table, column: str) -> None:
    rate = NULL_RATES.get(column, 0.0)
    assert many[column].null_count / many.num_rows == pytest.approx(rate, rel=0.1)
    assert schema.field(column).nullable == (rate > 0)
    assert rate <= 0.05


@pytest.mark.parametrize("column", [name for name in NUMBERS if name in NULL_RATES or name.endswith("_rate")])
def test_a_missing_value_is_null_and_never_nan(many: pa.Table, column: str) -> None:
    assert not pc.any(pc.is_nan(many[column])).as_py()


@pytest.mark.parametrize("column", CATEGORIES)
def test_each_category_takes_all_its_values_and_no_other(many: pa.Table, column: str) -> None:
    assert sorted(many[column].unique().to_pylist()) == sorted(CATEGORIES[column])


@pytest.mark.parametrize("column", FLAGS)
def test_each_condition_is_present_in_some_patients_and_absent_in_most(many: pa.Table, column: str) -> None:
    assert 0.01 < pc.mean(many[column].cast(pa.int8())).as_py() < 0.25


def test_lab_values_hang_together_with_the_conditions_behind_them(many: pa.Table) -> None:
    dialysis = many.filter(many["dialysis"])
    others = many.filter(pc.invert(many["dialysis"]))
    assert pc.mean(dialysis["creatinine"]).as_py() > 3 * pc.mean(others["creatinine"]).as_py()


@pytest.mark.parametrize("column", NUMBERS)
def test_no_two_values_of_a_number_meet_in_float32(many: pa.Table, column: str) -> None:
    # A tree's threshold lies midway between two values; rounded to float32 it must not reach either.
    exact = np.sort(many[column].unique().drop_null().cast(pa.float64()).to_numpy())
    middle = ((exact[:-1] + exact[1:]) / 2).astype(np.float32)
    single = exact.astype(np.float32)
    assert ((single[:-1] < middle) & (middle < single[1:])).all()


@pytest.mark.parametrize(
    ("name", "days", "rows_per_day", "seed"),
    [("days", -1, 1, 7), ("rows_per_day", 1, -1, 7), ("seed", 1, 1, -1)],
)
def test_a_negative_number_is_refused_at_the_call(name: str, days: int, rows_per_day: int, seed: int) -> None:
    with pytest.raises(SpecError, match=f"{name} is -1.*give 0 or more"):
        generate(days, rows_per_day, seed=seed)


def test_a_day_too_long_for_unique_keys_is_refused() -> None:
    with pytest.raises(SpecError, match=r"100,000,001.*would repeat.*more days"):
        generate(1, 100_000_001)
