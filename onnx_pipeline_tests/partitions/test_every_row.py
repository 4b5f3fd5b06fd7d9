"""Every row is in exactly one partition, or counted outside with a reason: SQL, Python and the inventory agree."""

import datetime
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from dagster._core.test_utils import freeze_time
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline_tests.partitions.test_partitions import NOW, UTC, make_table, period, spec_of

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo",
    "Pacific/Kiritimati",
]  # fmt: skip
"""Clocks change by half an hour at Lord Howe, and at midnight in Havana and Cairo."""
STARTS = st.dates(datetime.date(2026, 2, 20), datetime.date(2026, 11, 30))
MOMENTS = st.one_of(
    st.datetimes(datetime.datetime(2026, 2, 1), datetime.datetime(2027, 1, 31)),
    # About the changes of clocks, and about midnight.
    st.sampled_from([(3, 8), (3, 29), (4, 24), (4, 5), (10, 25), (10, 30), (11, 1)]).flatmap(
        lambda day: st.integers(-3 * 60, 3 * 60).map(
            lambda minutes: datetime.datetime(2026, *day) + datetime.timedelta(minutes=minutes)
        )
    ),
)
CELLS = st.one_of(st.none(), MOMENTS, st.sampled_from(["infinity", "-infinity"]))


def truth(cell, kind, every, offset, zone):
    """The day on which the row's partition begins, by the standard library's calendar."""
    if kind == "TIMESTAMPTZ":
        cell = cell.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    return period(cell.date(), every, offset)


@given(
    cells=st.lists(CELLS, min_size=1, max_size=40),
    kind=st.sampled_from(["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_MS", "TIMESTAMP_NS"]),
    unit=st.sampled_from([("day", 0), *(("week", day) for day in (0, 1, 6)), *(("month", day) for day in (0, 14, 27))]),
    zone=st.sampled_from(ZONES),
    start=STARTS,
    length=st.one_of(st.none(), st.integers(1, 250)),
    end_offset=st.integers(-1, 2),
)
@example([datetime.datetime(2026, 3, 8), None], "DATE", ("day", 0), "America/Havana", datetime.date(2026, 3, 1), 20, 0)
@example([datetime.datetime(2026, 4, 24)], "TIMESTAMP", ("day", 0), "Africa/Cairo", datetime.date(2026, 4, 24), 1, 0)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_in_one_partition_or_counted_outside(pool, cells, kind, unit, zone, start, length, end_offset):
    every, offset = unit
    until = None if length is None else start + datetime.timedelta(days=length)
    make_table(pool, cells, kind)
    spec = spec_of(
        column="at", every=every, start=start.isoformat(), until=until and until.isoformat(), timezone=zone,
        day_offset=offset, end_offset=end_offset,
    )  # fmt: skip
    with freeze_time(NOW):
        partitions = partitioning(spec)
        inventory, keys, source = take_inventory(spec, pool, partitions), list(partitions.keys()), pool.source(spec)
        filled = {key: piece.rows for key, piece in inventory.slices.items()}
        event(f"{len(filled)} partitions with rows of {every}")

        def within(key):
            found = pool.fetch(
                sa.select(sa.func.count().label("n")).select_from(source.selectable)
                .where(partitions.predicate(source, pool, [key]))
            )  # fmt: skip
            return found["n"][0].as_py()

        # By the predicate in SQL, also where partitions are empty: neighbours of filled ones, and both ends.
        near = {neighbour for key in filled for neighbour in keys[max(0, keys.index(key) - 1) :][:3]} | {
            *keys[:1],
            *keys[-1:],
        }
        assert {key: within(key) for key in near} == {key: filled.get(key, 0) for key in near}

        # By binary search in Python, as rows of a long range are placed.
        marker = sa.select(partitions.marker(source, pool).label("at")).select_from(source.selectable)
        codes = partitions.place(pool.fetch(marker)["at"].combine_chunks(), keys).tolist()
        assert Counter(keys[code] for code in codes if 0 <= code < len(keys)) == filled

    # By the calendar.
    first = period(start, every, offset)
    end = None if until is None else next_boundary(until, every, offset)
    expected, reasons = Counter(), Counter()
    for cell in cells:
        if cell is None:
            reasons["null"] += 1
        elif cell == "-infinity":
            reasons["early"] += 1
        elif cell == "infinity":
            reasons["late" if end is None else "ended"] += 1
        else:
            day = truth(cell, kind, every, offset, zone)
            if day < first:
                reasons["early"] += 1
            elif end is not None and day >= end:
                reasons["ended"] += 1
            elif day.isoformat() in keys:
                expected[day.isoformat()] += 1
            else:
                reasons["late"] += 1
                assert not keys or day.isoformat() > keys[-1]
    assert filled == expected
    assert {name: getattr(inventory, name) for name in ("null", "early", "late", "ended", "unlisted")} == {
        name: reasons[name] for name in ("null", "early", "late", "ended", "unlisted")
    }
    assert sum(filled.values()) + inventory.outside + inventory.late == len(cells)


def next_boundary(day, every, offset):
    """The first day at or after `day` on which a partition begins."""
    while period(day, every, offset) != day:
        day += datetime.timedelta(days=1)
    return day


@pytest.mark.parametrize(
    ("partitions", "first", "notes"),
    [
        ({"every": "week", "start": "2013-01-01"}, "2012-12-30", ["2013-01-01", "of a week", "2012-12-30"]),
        ({"every": "week", "start": "2012-12-30"}, "2012-12-30", []),
        ({"every": "week", "start": "2013-01-01", "day_offset": 2}, "2013-01-01", []),
        ({"every": "month", "start": "2013-01-31"}, "2013-01-01", ["2013-01-31", "of a month", "2013-01-01"]),
        ({"every": "month", "start": "2013-01-14", "day_offset": 14}, "2012-12-15", ["2012-12-15"]),
        ({"every": "month", "start": "2024-03-01", "day_offset": 27}, "2024-02-28", ["2024-02-28"]),
        ({"every": "hour", "start": "2026-11-20-10:30"}, "2026-11-20-10:00", ["of an hour", "2026-11-20 10:00"]),
        ({"every": "hour", "start": "2026-11-20"}, "2026-11-20-00:00", []),
        ({"every": "day", "start": "2026-03-08", "timezone": "America/Havana"}, "2026-03-08", []),
        (
            {"every": "week", "start": "2026-03-10", "timezone": "America/Havana"},
            "2026-03-08",
            ["2026-03-10", "2026-03-08"],
        ),
    ],
)
def test_a_start_within_a_partition_is_moved_back_to_where_that_begins(partitions, first, notes):
    with freeze_time(NOW):
        made = partitioning(spec_of(column="at", **partitions))
        assert made.keys()[0] == first
        made.check([first])
    assert len(made.notes) == (1 if notes else 0)
    assert all(note in made.notes[0] for note in notes)


@pytest.mark.parametrize(
    ("partitions", "last", "note"),
    [
        ({"every": "week", "start": "2013-01-06", "until": "2014-01-05"}, "2013-12-29", None),
        ({"every": "week", "start": "2013-01-06", "until": "2014-01-01"}, "2013-12-29", "ends on 2014-01-05"),
        ({"every": "week", "start": "2013-01-06", "until": "2013-01-07"}, "2013-01-06", "ends on 2013-01-13"),
        ({"every": "month", "start": "2013-01-01", "until": "2013-02-01"}, "2013-01-01", None),
        ({"every": "hour", "start": "2013-01-01", "until": "2013-01-01-05:00"}, "2013-01-01-04:00", None),
        ({"every": "hour", "start": "2013-01-01", "until": "2013-01-01-04:59"}, "2013-01-01-04:00", "2013-01-01 05:00"),
        ({"every": "day", "start": "2026-11-01", "until": "2026-11-20", "end_offset": 3}, "2026-11-19", None),
        ({"every": "day", "start": "2026-11-01", "until": "2026-11-20", "end_offset": -1}, "2026-11-19", None),
        # What is to come ends it later; the clock does so now.
        ({"every": "day", "start": "2026-11-01", "until": "2027-11-20"}, "2026-11-23", None),
        ({"every": "day", "start": "2026-11-01", "until": "2026-11-25", "end_offset": 3}, "2026-11-24", None),
        (
            {"every": "day", "start": "2018-10-01", "until": "2018-11-04", "timezone": "America/Sao_Paulo"},
            "2018-11-03",
            None,
        ),
    ],
)
def test_until_is_the_first_instant_without_a_partition(partitions, last, note):
    with freeze_time(NOW):
        made = partitioning(spec_of(column="at", **partitions))
        assert made.keys()[-1] == last == made.definition.get_last_partition_key()
        assert made.definition.get_num_partitions() == len(made.keys())
    assert [note in text for text in made.notes] == ([True] if note else [])


@pytest.mark.parametrize("every", ["hour", "day", "month"])
@pytest.mark.parametrize(
    ("zone", "start", "until"),
    [
        # By 44 minutes and 30 seconds, and by 3 hours, 30 minutes and 52 seconds; then by whole quarters.
        ("Africa/Monrovia", "1971-12-30", "1972-01-05"),
        ("America/St_Johns", "1935-03-25", "1935-03-29"),
        # Clocks go back at one minute past midnight.
        ("America/St_Johns", "2010-11-05", "2010-11-09"),
        ("Africa/Casablanca", "2026-02-10", "2026-02-20"),
    ],
)
def test_zones_that_are_no_whole_quarters_away(pool, sql, zone, start, until, every):
    first = datetime.datetime.fromisoformat(start) - datetime.timedelta(days=2)
    sql(
        f"CREATE TABLE events AS SELECT i AS id, timezone('UTC', TIMESTAMP '{first}' + INTERVAL (i * 29) SECOND) AS \"at\" "
        "FROM range(30000) AS r(i)"
    )
    spec = spec_of(column="at", every=every, start=start, until=until, timezone=zone)
    partitions = partitioning(spec)
    inventory, source = take_inventory(spec, pool, partitions), pool.source(spec)
    filled = {key: piece.rows for key, piece in inventory.slices.items()}
    assert sum(filled.values()) + inventory.outside == 30000
    near = [key for key in filled if key in filled][:60:5]
    assert {
        key: sql(
            'SELECT count(*) FROM events WHERE "at" >= $1 AND "at" < $2',
            [window.start.astimezone(UTC), window.end.astimezone(UTC)],
        )[0][0]
        for key in near
        for window in [partitions.definition.time_window_for_partition_key(key)]
    } == {key: filled[key] for key in near}
    for key in near:
        statement = sa.select(sa.func.count().label("n")).select_from(source.selectable)
        found = pool.fetch(statement.where(partitions.predicate(source, pool, [key])))
        assert found["n"][0].as_py() == filled[key]


@pytest.mark.parametrize(
    ("zone", "partitions", "told"),
    [
        # Samoa had no 30 December.
        ("Pacific/Apia", {"every": "day", "start": "2011-12-20", "until": "2012-01-10"}, "'2011-12-30'"),
        # Clocks there change by half an hour.
        ("Australia/Lord_Howe", {"every": "hour", "start": "2012-03-30", "until": "2012-04-20"}, "'2012-04-19-23:30'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["TIMESTAMPTZ", "DATE"])
def test_what_dagster_cuts_wrong_is_refused_and_not_lost(pool, zone, partitions, told, kind):
    if kind == "DATE" and partitions["every"] == "hour":
        pytest.skip("a day has no hours")
    make_table(pool, [datetime.datetime(2011, 12, day, 12) for day in (28, 29, 30)], kind)
    spec = spec_of(column="at", timezone=zone, **partitions)
    with pytest.raises(SpecError, match=f"the partition {told}.*clocks in {zone}.*Use `timezone: UTC`"):
        take_inventory(spec, pool, partitioning(spec))
    later = spec_of(column="at", timezone=zone, every="day", start="2012-01-01", until="2012-04-01")
    assert take_inventory(later, pool, partitioning(later)).early == 3


def test_after_an_upgrade_the_week_that_start_lies_in_is_pending_and_the_others_are_not(pool, sql, score, weighted_sum):
    sql(
        "CREATE TABLE events AS SELECT i AS id, DATE '2012-12-28' + (i % 30)::INTEGER AS \"at\", 1::FLOAT AS x FROM range(90) AS r(i)"
    )
    # What a version before made of `start: 2013-01-01`.
    closed = {"column": "at", "every": "week", "until": "2013-02-03"}
    score(spec_of(start="2013-01-06", **closed), weighted_sum({"x": 1.0}))
    spec = spec_of(start="2013-01-01", **closed)
    (found,) = pending(spec, pool, partitioning(spec), None)
    ((rows, before),) = sql(
        "SELECT count(*) FILTER (\"at\" BETWEEN '2012-12-30' AND '2013-01-05'), count(*) FILTER (\"at\" < '2012-12-30') FROM events"
    )
    assert (found.partition_key, found.reason, found.rows) == ("2012-12-30", Reason.NEVER_SCORED, rows)
    assert take_inventory(spec, pool, partitioning(spec)).outside == before
