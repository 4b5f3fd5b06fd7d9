"""Which rows lie in which slice, against the standard library's calendar and DuckDB's own counts."""

import datetime
from collections import Counter, defaultdict
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from dagster._core.test_utils import freeze_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline.base.errors import PartitionError, SpecError
from onnx_pipeline.base.instants import PER_SECOND
from onnx_pipeline.partitions.base import CHUNK
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.partitions.whole import WHOLE
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.scoring import ScoringSpec

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 24, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def today():
    """The clock that Dagster's partitions go by: 2026-11-24 15:30 UTC, a Tuesday."""
    with freeze_time(NOW):
        yield


@pytest.fixture
def table(pool):
    """`table(values, "TIMESTAMP")` makes `events(id, at, x)` with one row per value, shuffled."""
    return lambda values, kind: make_table(pool, values, kind)


def make_table(pool, values, kind):
    order = np.random.default_rng(0).permutation(len(values))
    texts = [None if values[index] is None else str(values[index]) for index in order]
    shuffled = pa.table({"id": pa.array(order, pa.int64()), "at": pa.array(texts, pa.string())})
    with pool.connect("making events") as connection:
        connection.register("shuffled", shuffled)
        connection.execute(
            f'CREATE OR REPLACE TABLE events AS SELECT id, "at"::{kind} AS "at", 1.0::FLOAT AS x FROM shuffled'
        ).fetchall()


def spec_of(**partitions):
    return ScoringSpec(
        name="s", onnx="m", source="events", key=["id"], target="scores", partitions=partitions or "none"
    )


def extracted(spec, pool, staging, model, keys=None):
    """`{partition key: ids}` as they lie in staging."""
    plan = ScoringPlan(spec, model, pool.source(spec))
    keys = list(plan.partitioning.keys()) if keys is None else keys
    ids = {}
    for piece in extract(plan, pool, staging, keys, say=print):
        with staging.open("s", "features", piece.partition_key) as (_, reader):
            ids[piece.partition_key] = sorted(reader.read_all()["id"].to_pylist())
        assert len(ids[piece.partition_key]) == piece.rows
    assert list(ids) == list(keys)
    return {key: found for key, found in ids.items() if found}


def counted(spec, pool):
    inventory = take_inventory(spec, pool, partitioning(spec))
    return {key: fingerprint.rows for key, fingerprint in inventory.slices.items()}, inventory


@pytest.fixture
def model(weighted_sum):
    return weighted_sum({"x": 1.0})


@pytest.fixture
def both_ways(pool, staging, model):
    """Checks that extraction and inventory find the expected ids in every partition; returns the inventory."""

    def check(spec, expected):
        expected = {key: sorted(ids) for key, ids in expected.items() if ids}
        keys = partitioning(spec).keys()
        # Each with its neighbours, which may hold nothing.
        near = [key for index, key in enumerate(keys) if expected.keys() & set(keys[max(0, index - 1) : index + 2])]
        assert extracted(spec, pool, staging, model, near) == expected
        # One partition at a time is another statement, without a marker column.
        some = list(expected)[:: max(1, len(expected) // 3)]
        for key in some:
            assert extracted(spec, pool, staging, model, [key]) == {key: expected[key]}
        counts, inventory = counted(spec, pool)
        assert counts == {key: len(ids) for key, ids in expected.items()}
        return inventory

    return check


def week_start(day, offset):
    """The Sunday (offset 0), Monday (1), ... at or before a day. Python counts Monday as 0."""
    return day - datetime.timedelta(days=(day.weekday() + 1 - offset) % 7)


def period(day, every, offset=0):
    """The first day of the day, week or month that a day lies in."""
    if every == "day":
        return day
    if every == "week":
        return week_start(day, offset)
    first = day.replace(day=1) + datetime.timedelta(days=offset)
    return first if first <= day else (day.replace(day=1) - datetime.timedelta(days=1)).replace(day=1 + offset)


def by_period(values, every, zone="UTC", offset=0):
    """`{first day: ids}`; an aware instant is read in the zone, a wall-clock one is what it is."""
    found = defaultdict(list)
    for index, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, datetime.datetime):
            day = (value if value.tzinfo is None else value.astimezone(ZoneInfo(zone))).date()
        else:
            day = value
        found[period(day, every, offset).isoformat()].append(index)
    return dict(found)


def every_hours(start, end, hours):
    values = []
    while start < end:
        values.append(start)
        start += datetime.timedelta(hours=hours)
    return values


DAYS = [datetime.date(2026, 5, 30) + datetime.timedelta(days=number) for number in range(0, 140, 3)] * 3
EVERY = [("day", 0), ("week", 0), ("week", 1), ("week", 6), ("month", 0), ("month", 14)]


@pytest.mark.parametrize(("every", "offset"), EVERY)
def test_dates_fall_into_days_weeks_and_months_also_over_more_partitions_than_one_statement_reads(
    table, both_ways, every, offset
):
    table(DAYS, "DATE")
    spec = spec_of(column="at", every=every, start="2026-05-01", end_offset=1, day_offset=offset)
    expected = by_period(DAYS, every, offset=offset)
    if every == "day":
        assert len(partitioning(spec).keys()) > 2 * CHUNK
    both_ways(spec, expected)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Cairo"]


@pytest.mark.parametrize(
    ("every", "offset", "zone"),
    [*(("day", 0, zone) for zone in ZONES), ("week", 1, "Europe/Berlin"), ("month", 0, "America/New_York")],
)
@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_instants_fall_into_the_zones_own_days_also_where_clocks_change(table, both_ways, every, offset, zone, kind):
    # Every change of clocks in 2026 in these zones, at quarter hours around midnight and around the change.
    values = []
    changes = [(3, 8), (3, 29), (4, 24), (10, 25), (10, 30), (11, 1), (3, 1)]
    for month, day in changes:
        base = datetime.datetime(2026, month, day) - datetime.timedelta(hours=7)
        values += [base + datetime.timedelta(minutes=15 * step + 1) for step in range(0, 4 * 38, 3)]
        values += [datetime.datetime(2026, month, day) + datetime.timedelta(hours=hour) for hour in range(-6, 26)]
    if kind == "TIMESTAMPTZ":
        values = [value.replace(tzinfo=UTC) for value in values]
    table(values, kind)
    spec = spec_of(column="at", every=every, start="2026-02-01", end_offset=1, timezone=zone, day_offset=offset)
    both_ways(spec, by_period(values, every, zone, offset))


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
    ],
)
def test_a_day_on_which_clocks_change_has_as_many_hours_as_it_lasts(table, both_ways, zone, start, hours):
    local = ZoneInfo(zone)
    midnight = datetime.datetime.fromisoformat(start).replace(tzinfo=local).astimezone(UTC)
    values = [midnight + datetime.timedelta(minutes=20 * step) for step in range(3 * hours)]
    table(values, "TIMESTAMPTZ")
    spec = spec_of(column="at", every="hour", start=f"{start}-00:00", timezone=zone)
    partitions = partitioning(spec)
    keys = list(partitions.keys())[:hours]
    # Hours are counted in elapsed time from midnight: the repeated hour is two partitions, the skipped one none.
    both_ways(spec, {key: [3 * index, 3 * index + 1, 3 * index + 2] for index, key in enumerate(keys)})
    partitions.check(keys)
    assert [partitions.compared_with(key) for key in keys] == [None, *keys[:-1]]
    next_midnight = datetime.datetime.fromisoformat(start).replace(tzinfo=local) + datetime.timedelta(days=1)
    assert keys[-1].startswith(f"{start}-23:00")
    assert partitions.definition.time_window_for_partition_key(keys[-1]).end == next_midnight


def test_hours_of_a_wall_clock_in_a_zone_with_half_hours(table, both_ways):
    values = every_hours(datetime.datetime(2026, 3, 1, 0, 30), datetime.datetime(2026, 3, 4), 1.25)
    table(values, "TIMESTAMP")
    spec = spec_of(column="at", every="hour", start="2026-03-01", timezone="Asia/Kolkata")
    expected = defaultdict(list)
    for index, value in enumerate(values):
        expected[value.strftime("%Y-%m-%d-%H:00")].append(index)
    both_ways(spec, expected)


def test_partitions_that_begin_before_1970_and_on_leap_days(table, both_ways):
    values = [
        datetime.datetime(year, 2, day, hour) for year in (1960, 1968, 1972) for day in (28, 29) for hour in (0, 23)
    ]
    values += [datetime.datetime(1959, 12, 31, 23, 59, 59, 999999), datetime.datetime(1960, 1, 1)]
    values += [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), datetime.datetime(1970, 1, 1)]
    table(values, "TIMESTAMP")
    spec = spec_of(column="at", every="month", start="1960-01-01")
    expected = by_period(values, "month")
    assert expected.pop("1959-12-01") == [12]
    inventory = both_ways(spec, expected)
    assert (inventory.early, inventory.late, inventory.unplaced) == (1, 0, 0)


def test_each_leap_day_is_a_day_of_its_own(table, both_ways):
    values = [datetime.date(2024, 2, 28), datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)]
    table(values, "DATE")
    both_ways(spec_of(column="at", every="day", start="2024-02-01"), by_period(values, "day"))


@pytest.mark.parametrize(
    ("every", "zone", "offset", "last"),
    [
        ("day", "UTC", 0, "2026-11-23"),
        ("day", "UTC", 1, "2026-11-24"),
        ("day", "Asia/Kolkata", 1, "2026-11-24"),
        ("day", "Pacific/Kiritimati", 1, "2026-11-25"),
        ("day", "UTC", 3, "2026-11-26"),
        ("day", "UTC", -1, "2026-11-22"),
        ("hour", "UTC", 0, "2026-11-24-14:00"),
        ("hour", "UTC", 1, "2026-11-24-15:00"),
        ("week", "UTC", 1, "2026-11-22"),
        ("month", "UTC", 1, "2026-11-01"),
    ],
)
def test_end_offset_reaches_into_the_period_that_is_not_over(every, zone, offset, last):
    spec = spec_of(column="at", every=every, start="2026-10-01", timezone=zone, end_offset=offset)
    assert partitioning(spec).keys()[-1] == last


def test_todays_rows_are_late_until_end_offset_reaches_them(table, pool):
    values = [datetime.datetime(2026, 11, day, 12) for day in (23, 24, 25)]
    table(values, "TIMESTAMP")
    for offset, late in [(0, 2), (1, 1), (2, 0)]:
        counts, inventory = counted(spec_of(column="at", every="day", start="2026-11-01", end_offset=offset), pool)
        assert list(counts) == ["2026-11-23", "2026-11-24", "2026-11-25"][: 3 - late]
        assert (inventory.early, inventory.late, inventory.unplaced) == (0, late, 0)


def test_before_the_first_partition_is_complete_every_row_is_late(table, pool):
    table([datetime.date(2026, 11, 24), None], "DATE")
    counts, inventory = counted(spec_of(column="at", every="day", start="2026-11-24"), pool)
    assert counts == {}
    assert (inventory.early, inventory.late, inventory.unplaced) == (0, 1, 1)


def test_listed_values_of_a_text_column(table, both_ways):
    sites = ["north", "it's", 'a "quote"', "zürich", "south", None, "NORTH", " north"]
    values = [sites[index % len(sites)] for index in range(100)]
    table(values, "VARCHAR")
    listed = ["zürich", "north", "it's", 'a "quote"']
    inventory = both_ways(
        spec_of(column="at", values=listed),
        {site: [index for index, value in enumerate(values) if value == site] for site in listed},
    )
    assert inventory.unplaced == sum(value not in listed for value in values)
    assert (inventory.early, inventory.late) == (0, 0)


@pytest.mark.parametrize("kind", ["INTEGER", "TINYINT", "HUGEINT", "DECIMAL(9, 0)", "VARCHAR", "UBIGINT"])
def test_listed_values_that_are_integers(table, both_ways, kind):
    values = [index % 7 for index in range(60)]
    table(values, kind)
    inventory = both_ways(
        spec_of(column="at", values=[3, 0, 5]),
        {str(site): [index for index, value in enumerate(values) if value == site] for site in (0, 3, 5)},
    )
    assert inventory.unplaced == sum(value not in (0, 3, 5) for value in values)


def test_listed_values_of_an_enumeration(table, both_ways, sql):
    values = ["a", "b", None, "c"] * 10
    table(values, "VARCHAR")
    sql("CREATE TYPE site AS ENUM ('c', 'b', 'a')")
    sql('ALTER TABLE events ALTER "at" TYPE site USING "at"::site')
    both_ways(
        spec_of(column="at", values=["b", "a"]),
        {site: [index for index, value in enumerate(values) if value == site] for site in "ab"},
    )


def test_listed_values_may_be_dates(table, both_ways):
    values = [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)]
    table(values, "DATE")
    both_ways(spec_of(column="at", values=["2026-01-02", "2026-01-03"]), {"2026-01-02": [1, 2]})


def test_a_listed_value_that_the_column_cannot_hold(table, pool, model):
    table([1, 2], "INTEGER")
    spec = spec_of(column="at", values=[1, "two"])
    # Before a row moves.
    with pytest.raises(
        SpecError, match="'two' cannot be read as int32, the type of column 'at', where a whole number is"
    ):
        ScoringPlan(spec, model, pool.source(spec))


def test_more_listed_values_than_one_statement_reads(table, both_ways):
    values = [f"site {index % 150}" for index in range(900)]
    table(values, "VARCHAR")
    listed = [f"site {index}" for index in range(149, -1, -1)]
    both_ways(
        spec_of(column="at", values=listed),
        {site: [index for index, value in enumerate(values) if value == site] for site in listed},
    )


@pytest.mark.parametrize("buckets", [1, 7, 100])
def test_every_key_lies_in_one_bucket_and_stays_there(table, both_ways, pool, staging, model, sql, buckets):
    values = ["x"] * 1000
    table(values, "VARCHAR")
    spec = spec_of(buckets=buckets)
    found = extracted(spec, pool, staging, model)
    width = len(str(buckets - 1))
    assert partitioning(spec).keys() == tuple(f"bucket_{index:0{width}d}" for index in range(buckets))
    assert sorted(index for ids in found.values() for index in ids) == list(range(1000))
    both_ways(spec, found)
    # Half of the rows leave: the others stay where they were.
    sql("DELETE FROM events WHERE id % 2 = 0")
    assert extracted(spec, pool, staging, model) == {
        key: odd for key, ids in found.items() if (odd := [index for index in ids if index % 2])
    }


def test_buckets_are_the_md5_of_the_key_so_that_they_never_move(table, pool, staging, model):
    import hashlib

    table(["x"] * 50, "VARCHAR")
    expected = defaultdict(list)
    for index in range(50):
        number = int.from_bytes(hashlib.md5(str(index).encode()).digest()[:3], "big")
        expected[f"bucket_{number % 8}"].append(index)
    assert extracted(spec_of(buckets=8), pool, staging, model) == dict(expected)


def test_without_partitions_the_whole_table_is_one_slice(table, both_ways):
    table([1, None, 3], "INTEGER")
    inventory = both_ways(spec_of(), {WHOLE: [0, 1, 2]})
    assert (inventory.early, inventory.late, inventory.unplaced) == (0, 0, 0)


@pytest.mark.parametrize(
    "partitions",
    [{}, {"buckets": 3}, {"column": "at", "values": ["a"]}, {"column": "at", "every": "day", "start": "2026-01-01"}],
)
def test_an_empty_table_has_empty_slices(table, both_ways, partitions):
    table([], "DATE" if "every" in partitions else "VARCHAR")
    inventory = both_ways(spec_of(**partitions), {})
    assert (inventory.early, inventory.late, inventory.unplaced) == (0, 0, 0)


SPAN = st.datetimes(datetime.datetime(2026, 8, 20), datetime.datetime(2026, 12, 31))


@given(
    values=st.lists(st.one_of(st.none(), SPAN), max_size=40),
    every=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana"]
    ),
    kind=st.sampled_from(["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP_NS"]),
    offset=st.integers(0, 3),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_lies_in_exactly_one_place(pool, staging, model, values, every, zone, kind, offset):
    if every == "hour" and kind != "TIMESTAMPTZ":
        every = "day"
    if kind == "TIMESTAMPTZ":
        values = [value and value.replace(tzinfo=UTC) for value in values]
    make_table(pool, values, kind)
    start = "2026-11-22" if every == "hour" else "2026-09-01"
    spec = spec_of(column="at", every=every, start=start, timezone=zone, end_offset=offset)
    inside = extracted(spec, pool, staging, model)
    found = Counter(index for ids in inside.values() for index in ids)
    counts, inventory = counted(spec, pool)
    assert counts == {key: len(ids) for key, ids in inside.items()}
    assert set(found.values()) <= {1}
    assert inventory.unplaced == values.count(None)
    assert sum(counts.values()) + inventory.early + inventory.late + inventory.unplaced == len(values)
    definition = partitioning(spec).definition
    keys = definition.get_partition_keys()
    first = definition.time_window_for_partition_key(keys[0]).start
    for index, value in enumerate(values):
        if value is not None:
            if kind == "DATE":
                local = datetime.datetime.combine(value.date(), datetime.time(), ZoneInfo(zone))
            else:
                local = value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(zone))
            after_start = local.replace(microsecond=0) >= first
            ended = index not in found and after_start
            assert (index in found) or ended or not after_start


@pytest.mark.parametrize(
    ("partitions", "key", "message"),
    [
        ({}, "2026-01-01", "there is no partition '2026-01-01'; there are: all"),
        ({"buckets": 3}, "bucket_3", "there is no partition 'bucket_3'; did you mean 'bucket_2' or"),
        ({"column": "at", "values": ["north", "south"]}, "nort", "no partition 'nort'; did you mean 'north'"),
        (
            {"column": "at", "every": "day", "start": "2026-01-01"},
            "2026-1-5",
            "there is no partition '2026-1-5'; day partitions look like '2026-01-01', and go from there to '2026-11-23'",
        ),
        ({"column": "at", "every": "day", "start": "2026-01-01"}, "yesterday", "no partition 'yesterday'"),
        ({"column": "at", "every": "day", "start": "2026-01-01"}, "2026-11-24", "go from there to '2026-11-23'"),
        ({"column": "at", "every": "day", "start": "2026-01-01"}, "2026-02-29", "no partition '2026-02-29'"),
        (
            {"column": "at", "every": "week", "start": "2026-01-04"},
            "2026-01-05",
            "week partitions look like '2026-01-04'",
        ),
        ({"column": "at", "every": "hour", "start": "2026-01-01"}, "2026-01-01-00:30", "hour partitions look like"),
        (
            {"column": "at", "every": "day", "start": "2030-01-01"},
            "2030-01-01",
            "the first partition is not complete yet: see `start` and `end_offset`",
        ),
    ],
)
def test_a_partition_that_does_not_exist_is_answered_with_those_that_do(partitions, key, message):
    with pytest.raises(PartitionError, match=message):
        partitioning(spec_of(**partitions)).check([key])


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("start", ["soon", "2026-13-01", "2026-02-30", "01.02.2026"])
def test_a_start_that_is_no_date(every, start):
    why = "there is no such date; write one as 2026-01-31"
    with pytest.raises(SpecError, match=f"partitions.start '{start}' cannot begin {every} partitions: {why}"):
        partitioning(spec_of(column="at", every=every, start=start))


@pytest.mark.parametrize(
    ("kind", "partitions", "message"),
    [
        ("DATE", {"every": "hour"}, "column 'at' is a DATE and has no hours: partition it by day, week or month"),
        (
            "TIMESTAMP",
            {"every": "hour", "timezone": "Europe/Berlin"},
            "an hour of Europe/Berlin happens twice when daylight saving ends: use `timezone: UTC`",
        ),
        ("VARCHAR", {"every": "day"}, "column 'at' is string, and time partitions need a DATE or TIMESTAMP"),
        ("INTEGER", {"every": "month"}, "column 'at' is int32, and time partitions need a DATE or TIMESTAMP"),
    ],
)
def test_a_column_that_cannot_be_cut_into_such_periods(table, pool, kind, partitions, message):
    table([], kind)
    spec = spec_of(column="at", start="2026-01-01", **partitions)
    with pytest.raises(SpecError, match=message):
        take_inventory(spec, pool, partitioning(spec))
    with pytest.raises(SpecError, match=message):
        partitioning(spec).predicate(pool.source(spec), pool, ["2026-01-01"])


def test_wall_clock_hours_in_a_zone_that_had_daylight_saving_since_the_start(table, pool):
    table([], "TIMESTAMP")
    spec = spec_of(column="at", every="hour", start="2015-10-01", timezone="Europe/Istanbul")
    with pytest.raises(SpecError, match="an hour of Europe/Istanbul happens twice"):
        take_inventory(spec, pool, partitioning(spec))


@pytest.mark.parametrize(
    ("partitions", "key", "compared"),
    [
        # Only time has a before: an island is compared with itself.
        ({}, "all", "all"),
        ({"buckets": 3}, "bucket_0", "bucket_0"),
        ({"buckets": 3}, "bucket_2", "bucket_2"),
        ({"column": "at", "values": ["b", "a"]}, "a", "a"),
        ({"column": "at", "every": "day", "start": "2026-01-01"}, "2026-01-01", None),
        (
            {"column": "at", "every": "day", "start": "2026-01-01", "timezone": "Europe/Berlin"},
            "2026-10-26",
            "2026-10-25",
        ),
        ({"column": "at", "every": "week", "start": "2026-01-01"}, "2026-01-11", "2026-01-04"),
        ({"column": "at", "every": "week", "start": "2026-01-01"}, "2026-01-04", "2025-12-28"),
        ({"column": "at", "every": "week", "start": "2026-01-01"}, "2025-12-28", None),
        ({"column": "at", "every": "month", "start": "2026-01-01"}, "2026-03-01", "2026-02-01"),
        ({"column": "at", "every": "hour", "start": "2026-01-01"}, "2026-01-02-00:00", "2026-01-01-23:00"),
    ],
)
def test_the_partition_that_predictions_are_compared_with(partitions, key, compared):
    assert partitioning(spec_of(**partitions)).compared_with(key) == compared


def test_one_statement_reads_neighbours_only_and_not_too_many():
    days = partitioning(spec_of(column="at", every="day", start="2026-01-01"))
    keys = list(days.keys())
    chosen = [*keys[:100], *keys[150:152], keys[200]]
    chunks = list(days.chunks(chosen))
    assert [len(chunk) for chunk in chunks] == [64, 36, 2, 1]
    assert [key for chunk in chunks for key in chunk] == chosen


def test_dagster_knows_the_same_partitions(project_home):
    for partitions in (
        {"buckets": 3},
        {"column": "at", "values": [1, 2]},
        {"column": "at", "every": "week", "start": "2026-01-01"},
    ):
        made = partitioning(spec_of(**partitions))
        assert isinstance(made.definition, dg.PartitionsDefinition)
        assert list(made.definition.get_partition_keys()) == list(made.keys())


def test_markers_may_be_dictionaries(project_home):
    made = partitioning(spec_of(column="at", values=["b", "a"]))
    markers = pa.array(["a", None, "c", "b"]).dictionary_encode()
    np.testing.assert_array_equal(made.place(markers, ["b", "a"]), [1, -2, -1, 0])


def test_staging_takes_any_listed_value_as_a_folder(table, pool, model, tmp_path):
    listed = ["..", ".", "a/b", "c:\\d", "zürich", "per%cent", "a b"]
    table(listed, "VARCHAR")
    assert extracted(spec_of(column="at", values=listed), pool, Staging(tmp_path / "staged"), model) == {
        value: [index] for index, value in enumerate(listed)
    }
    assert {path.parts[-4] for path in (tmp_path / "staged").glob("*/*/*/*")} == {"s"}
    assert isinstance(pool, DuckDBPool)


def test_listed_values_that_name_one_number_twice_are_refused(pool: DuckDBPool, sql) -> None:
    sql("CREATE TABLE visits AS SELECT i AS id, i % 3 AS ward FROM range(9) AS r(i)")
    spec = ScoringSpec(
        name="s",
        onnx="m.onnx",
        source="visits",
        key=["id"],
        target="t",
        partitions=PartitionSpec(column="ward", values=["1", "01"]),
    )
    partitions = partitioning(spec)
    with pytest.raises(SpecError, match="twice"):
        partitions.predicate(pool.source(spec), pool, ["1"])


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("INTEGER", "1.0", "int32, .* a whole number is written as 7 or -7"),
        ("BIGINT", "+1", "int64"),
        ("BIGINT", "1_000", "int64"),
        ("TINYINT", "300", "int8"),
        ("DECIMAL(9, 2)", "1.505", "decimal128"),
        ("DECIMAL(9, 2)", "1e3", "decimal128.*a number is written as 7, -7 or 1.50"),
        ("DOUBLE", "nan", "double"),
        ("BOOLEAN", "yes", "bool, .* a value is `true` or `false`"),
        ("DATE", "01.02.2026", "date32.* a day is written as 2026-01-31"),
        ("DATE", "2026-02-30", "date32"),
        ("TIMESTAMP", "noon", "timestamp.* a time is written as 2026-01-31 12:30:00"),
        ("BLOB", "x", "binary, which has no listed values; text has"),
    ],
)
def test_a_spelling_that_names_no_value_of_the_column_is_refused_with_file_and_line(
    table, pool, model, tmp_path, kind, value, says
):
    table([None], kind)
    text = f"type: onnx_pipeline.OnnxScoring\nattributes:\n  partitions:\n    column: at\n    values: ['{value}']\n"
    (tmp_path / "defs.yaml").write_text(text)
    spec = spec_of(column="at", values=[value]).placed(name="s", directory=tmp_path)
    line = 4 if kind == "BLOB" else 5  # of the column, or of its values
    with pytest.raises(SpecError, match=f"{tmp_path}/defs.yaml:{line}: s: partitions.*{says}"):
        ScoringPlan(spec, model, pool.source(spec))


@pytest.mark.parametrize(
    ("kind", "stored", "listed"),
    [
        ("BOOLEAN", [True, False, None, True], ["true", "false"]),
        ("BOOLEAN", [True, False, None, True], [True, False]),
        ("DECIMAL(9, 2)", ["1.50", "-2.25", "1.51"], ["1.5", "-2.25"]),
        ("DOUBLE", ["0.5", "1e300", "2"], ["0.5", "1e300", "2.0"]),
        ("FLOAT", ["0.1", "0.2"], ["0.1"]),
        ("INTEGER", [1, 7, 8], ["01", "7"]),
        ("TIMESTAMP", ["2026-01-01 10:00:00", "2026-01-01"], ["2026-01-01 10:00:00", "2026-01-01"]),
        ("TIME", ["10:00:00", "11:00:00"], ["10:00:00"]),
        ("VARCHAR", ["1", "1.0", "+1", "1_000", "1000", "true"], ["1.0", "+1", "1_000", "true"]),
    ],
)
def test_listed_values_of_every_type(table, sql, both_ways, kind, stored, listed):
    table(stored, kind)
    # What the database itself holds for equal.
    expected = {
        str(value).lower() if isinstance(value, bool) else value: [
            row[0] for row in sql(f'SELECT id FROM events WHERE "at" = CAST($1 AS {kind})', [value])
        ]
        for value in listed
    }
    assert all(expected.values())
    both_ways(spec_of(column="at", values=listed), expected)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
def test_minus_zero_is_zero(pool, sql, staging, model, kind):
    make_table(pool, ["0.0", "-0.0", "1.5", "-1.5", "nan", "infinity", None], kind)
    spec = spec_of(column="at", values=["-0", "1.5"])
    counts, inventory = counted(spec, pool)
    ((zeros,),) = sql('SELECT count(*) FROM events WHERE "at" = 0')
    assert (counts, inventory.null, inventory.unlisted) == ({"-0": zeros, "1.5": 1}, 1, 3)
    assert extracted(spec, pool, staging, model) == {"-0": [0, 1], "1.5": [2]}
    assert extracted(spec, pool, staging, model, ["-0"]) == {"-0": [0, 1]}
    twice = spec_of(column="at", values=["-0", "0"])
    with pytest.raises(SpecError, match="name the same .* twice"):
        partitioning(twice).check_source(pool.source(twice))


@pytest.mark.parametrize(
    "bounds",
    [{"start": "2025-02-27"}, {"start": "2025-02-27-05:00", "until": "2025-03-02"}, {"start": "2026-11-24-15:00"}],
)
@pytest.mark.parametrize(
    "arrow", [pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "UTC")]
)
def test_the_hours_of_utc_are_those_of_dagster(bounds, arrow):
    cut = partitioning(spec_of(column="at", every="hour", end_offset=1, **bounds))
    keys = cut.keys()
    assert list(keys) == list(cut.definition.get_partition_keys())
    windows = [cut.definition.time_window_for_partition_key(key) for key in keys]
    starts = [window.start.timestamp() for window in windows]
    seconds = np.array([starts[0] - 1, *starts, *(window.end.timestamp() - 1 for window in windows)])
    markers = pa.array((seconds * PER_SECOND[arrow.unit]).astype(np.int64)).view(arrow)
    assert cut.place(markers, keys).tolist() == [-1, *range(len(keys)), *range(len(keys))]
    after = pa.array([int(windows[-1].end.timestamp()) * PER_SECOND[arrow.unit]]).view(arrow)
    assert cut.place(after, keys).tolist() == [len(keys) + ("until" in bounds)]


def test_years_of_hours_ask_dagster_for_none_of_them(monkeypatch):
    def every(*arguments):
        raise AssertionError("stepped from hour to hour")

    monkeypatch.setattr(dg.TimeWindowPartitionsDefinition, "get_partition_keys", every)
    cut = partitioning(spec_of(column="at", every="hour", start="2020-05-27"))
    assert len(cut.keys()) == (
        datetime.datetime(2026, 11, 24, 15) - datetime.datetime(2020, 5, 27)
    ) // datetime.timedelta(hours=1)
