"""Dates that Python does not have: infinite ones, years beyond 9999, nanoseconds. DuckDB's own counts are the truth."""

import numpy as np
import pyarrow as pa
import pytest
from dagster._core.test_utils import freeze_time

from onnx_pipeline.base.errors import KeyColumnError
from onnx_pipeline.base.instants import PER_SECOND, as_python, instant_text, instant_texts
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.partitions.test_partitions import NOW, extracted, make_table, spec_of


@pytest.fixture(autouse=True)
def today():
    """2026-11-24 15:30 UTC."""
    with freeze_time(NOW):
        yield


@pytest.fixture
def model(weighted_sum):
    return weighted_sum({"x": 1.0})


STRAYS = ["infinity", "-infinity", "20000-01-01", "0044-03-15 (BC)", None]
KINDS = ["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"]


CUTS = [("day", None, "2026-11-24"), ("day", "2026-11-21", "2026-11-21"), ("week", "2026-11-18", "2026-11-22"),
        ("month", "2026-10-02", "2026-11-01")]  # fmt: skip
"""A unit, `until`, and where the last partition ends."""


@pytest.mark.parametrize(("every", "until", "last"), CUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beyond_every_date_is_early_or_late(pool, sql, staging, model, kind, every, until, last):
    strays = [stray for stray in STRAYS if kind != "TIMESTAMP_NS" or stray is None or "infinity" in stray]
    make_table(pool, [*strays, "2026-10-20", "2026-11-20", "2026-11-20", "2026-11-23"], kind)
    start = {"month": "2026-10-01", "week": "2026-11-15"}.get(every, "2026-11-19")
    spec = spec_of(column="at", every=every, start=start, until=until)
    inventory = take_inventory(spec, pool, partitioning(spec))
    ((early, beyond, within),) = sql(
        f"SELECT count(*) FILTER (\"at\" < '{start}'), count(*) FILTER (\"at\" >= '{last}'), "
        f"count(*) FILTER (\"at\" >= '{start}' AND \"at\" < '{last}') FROM events"
    )
    assert early >= sum(stray in ("-infinity", "0044-03-15 (BC)") for stray in strays)
    assert (inventory.early, inventory.null, inventory.unlisted) == (early, 1, 0)
    assert (inventory.ended, inventory.late) == ((beyond, 0) if until else (0, beyond))
    assert sum(piece.rows for piece in inventory.slices.values()) == within
    found = extracted(spec, pool, staging, model)
    assert {key: len(ids) for key, ids in found.items()} == {key: each.rows for key, each in inventory.slices.items()}


def test_before_the_first_partition_is_complete_rows_are_told_apart_too(pool):
    make_table(pool, ["2026-11-23", "2026-11-24", "infinity", "2027-05-01", None], "DATE")
    spec = spec_of(column="at", every="day", start="2026-11-24", until="2027-05-01")
    inventory = take_inventory(spec, pool, partitioning(spec))
    assert (inventory.early, inventory.late, inventory.ended, inventory.null) == (1, 1, 2, 1)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_nanoseconds_fall_on_their_side_of_a_boundary(pool, sql, staging, model, zone):
    values = [
        f"{day} 23:59:59.{fraction}" for day in ("1969-12-31", "1970-01-01") for fraction in (999999001, 999999999)
    ]
    values += [f"{day} 00:00:00.00000000{digit}" for day in ("1970-01-01", "1970-01-02") for digit in (0, 1)]
    make_table(pool, values, "TIMESTAMP_NS")
    spec = spec_of(column="at", every="day", start="1969-12-30", until="1970-01-03", timezone=zone)
    truth = dict(sql('SELECT left("at"::VARCHAR, 10), count(*) FROM events GROUP BY 1'))
    assert truth == {"1969-12-31": 2, "1970-01-01": 4, "1970-01-02": 2}
    inventory = take_inventory(spec, pool, partitioning(spec))
    assert {key: piece.rows for key, piece in inventory.slices.items()} == truth
    near = list(truth)
    assert {key: len(ids) for key, ids in extracted(spec, pool, staging, model, near).items()} == truth
    for key in near:
        assert len(extracted(spec, pool, staging, model, [key])[key]) == truth[key]


def test_partitions_that_begin_before_a_count_of_nanoseconds_does(pool, staging, model):
    make_table(pool, ["1969-12-31 23:59:59.9999999", "infinity", "-infinity", "1677-09-22"], "TIMESTAMP_NS")
    spec = spec_of(column="at", every="month", start="1677-01-01", until="1970-01-01")
    inventory = take_inventory(spec, pool, partitioning(spec))
    assert {key: piece.rows for key, piece in inventory.slices.items()} == {"1677-09-01": 1, "1969-12-01": 1}
    assert (inventory.early, inventory.ended) == (1, 1)
    for keys in (["1677-09-01", "1677-10-01"], ["1677-09-01"], ["1677-01-01"]):
        found = extracted(spec, pool, staging, model, keys)
        assert found == ({"1677-09-01": [3]} if "1677-09-01" in keys else {})


def test_hours_of_nanoseconds(pool, sql, staging, model):
    make_table(pool, ["1969-12-31 23:59:59.9999999", "1970-01-01 00:59:59.9999999"], "TIMESTAMP_NS")
    spec = spec_of(column="at", every="hour", start="1969-12-31-22:00", until="1970-01-01-02:00")
    inventory = take_inventory(spec, pool, partitioning(spec))
    assert {key: piece.rows for key, piece in inventory.slices.items()} == {
        "1969-12-31-23:00": 1, "1970-01-01-00:00": 1,
    }  # fmt: skip


CHANGES = [
    ("TIMESTAMP", "2026-01-02 03:04:05", "2026-01-02T03:04:05"),
    ("TIMESTAMP", "2026-01-02 03:04:05.600", "2026-01-02T03:04:05.600000"),
    ("TIMESTAMPTZ", "2026-01-02 03:04:05+02", "2026-01-02T01:04:05+00:00"),
    ("TIMESTAMP_NS", "2026-01-02 03:04:05.123456789", "2026-01-02T03:04:05.123456789"),
    ("TIMESTAMP_S", "2026-01-02 03:04:05", "2026-01-02T03:04:05"),
    ("DATE", "2026-01-02", "2026-01-02"),
    ("INTEGER", "7", "7"),
    ("VARCHAR", "v7", "v7"),
    ("DECIMAL(9, 2)", "7.50", "7.50"),
    ("DATE", "infinity", "infinity"),
    ("TIMESTAMP", "infinity", "infinity"),
    ("TIMESTAMPTZ", "infinity", "infinity"),
    ("TIMESTAMP_NS", "infinity", "infinity"),
    ("DATE", "-infinity", "-infinity"),
    ("DATE", "20000-01-01", "20000-01-01"),
    ("TIMESTAMP", "20000-01-01 01:02:03", "20000-01-01T01:02:03.000000"),
]


@pytest.mark.parametrize(("kind", "value", "text"), CHANGES, ids=[f"{kind} {value}" for kind, value, _ in CHANGES])
def test_the_greatest_change_is_a_stable_text_everywhere(pool, sql, staging, score, model, kind, value, text):
    """What the log of a pool has stays what it was: else every partition would be pending after an upgrade."""
    low = {"INTEGER": "1", "VARCHAR": "a", "DECIMAL(9, 2)": "1.5"}.get(kind, "-infinity")
    sql(f"CREATE TABLE events AS SELECT i AS id, 1::FLOAT AS x, "
        f"CASE i WHEN 0 THEN NULL WHEN 1 THEN '{value}' ELSE '{low}' END::{kind} AS touched FROM range(3) AS r(i)")  # fmt: skip
    spec = ScoringSpec(
        name="s", onnx="m", source={"table": "events", "changed": "touched"}, key=["id"], target="scores"
    )
    assert take_inventory(spec, pool, partitioning(spec)).slices["all"].changed == text
    score(spec, model)
    assert pool.scoring_log("s")["all"].fingerprint.changed == text
    assert pending(spec, pool, partitioning(spec), None) == []
    sql("INSERT INTO events VALUES (9, 1, NULL)")
    assert [piece.reason for piece in pending(spec, pool, partitioning(spec), None)] == [Reason.SOURCE_CHANGED]


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ"])
def test_an_infinite_key_is_kept(pool, sql, score, model, kind):
    values = ["infinity", "-infinity", "20000-01-01", "2026-01-01"]
    make_table(pool, values, kind)
    spec = ScoringSpec(name="s", onnx="m", source="events", key=["at"], target="scores")
    score(spec, model)
    assert sql('SELECT count(*) FROM scores JOIN events USING ("at")') == [(4,)]
    for cell in pool.preview("scores", {"partition_key": "all"}, 4)["at"]:
        assert str(as_python(cell)).startswith(("infinity", "-infinity", "20000-01-01", "2026-01-01"))


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("TIMESTAMP_NS", "2026-01-01 00:00:00.123456789", "2026-01-01.00:00:00.123456789"),
        ("TIMESTAMP_S", "infinity", "inf"),
    ],
)
def test_a_key_that_the_target_cannot_hold_is_named_with_its_value_and_the_cast(pool, score, model, kind, value, shown):
    make_table(pool, ["2026-01-01 00:00:00", value], kind)
    spec = ScoringSpec(name="s", onnx="m", source="events", key=["at"], target="scores")
    with pytest.raises(
        KeyColumnError, match=rf"key column 'at' is timestamp\[.*\] and holds {shown}.*Cast it in a `query`"
    ):
        score(spec, model)


def test_nanoseconds_that_are_whole_microseconds_are_a_key(pool, sql, score, model):
    make_table(pool, ["2026-01-01 00:00:00.000001", "1969-12-31 23:59:59.999999"], "TIMESTAMP_NS")
    score(ScoringSpec(name="s", onnx="m", source="events", key=["at"], target="scores"), model)
    assert sql('SELECT count(*) FROM scores JOIN events ON scores."at" = events."at"') == [(2,)]


def test_texts_of_instants_are_those_of_python_wherever_that_has_the_date():
    generator = np.random.default_rng(3)
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6)):
        for zone in (None, "UTC"):
            for value in (
                generator.integers(-(10**10), 10**11, 200) * scale + generator.integers(0, scale, 200)
            ).tolist():
                arrow = pa.timestamp(unit, zone)
                assert instant_text(value, arrow) == pa.scalar(value, arrow).as_py().isoformat()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_many_texts_are_those_of_each(unit, zone):
    generator = np.random.default_rng(4)
    arrow = pa.timestamp(unit, zone)
    limits = [2**63 - 1, -(2**63) + 1, 0, -1, 2**62, -(2**62)]
    seconds = generator.integers(-(10**9), 10**9, 100) * PER_SECOND[unit]
    values = np.array([*limits, *seconds.tolist(), *generator.integers(-(2**62), 2**62, 100).tolist()], np.int64)
    assert instant_texts(values, arrow) == [instant_text(value, arrow) for value in values.tolist()]
