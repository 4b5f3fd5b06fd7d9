"""Keys of text: two are one in the target where they are one in the source, and a refusal says which they are."""

import datetime
import hashlib
import time
from collections import Counter

import pytest

from onnx_pipeline.base.errors import KeyColumnError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.spec.scoring import ScoringSpec

PEOPLE = [("Ann", 1.0), ("ann", 2.0), ("ANN", 3.0), ("Änn", 4.0)]


@pytest.fixture
def people(sql):
    """`people(kind)` makes `people(name <kind>, a)`, with names that differ in case alone."""

    def make(kind, rows=PEOPLE):
        sql(f"CREATE OR REPLACE TABLE people (name {kind}, a FLOAT)")
        marks = ", ".join("(?, ?)" for _ in rows)
        sql(f"INSERT INTO people VALUES {marks}", [cell for row in rows for cell in row])

    return make


def spec_of(load="replace", source="people", key=("name",)):
    return ScoringSpec(name="s", onnx="m.onnx", source=source, key=list(key), target="scored", load_mode=load)


@pytest.mark.parametrize("load", ["replace", "append", "upsert"])
def test_keys_that_differ_in_case_are_keys_of_their_own(people, score, weighted_sum, sql, load):
    people("VARCHAR")
    score(spec_of(load), weighted_sum({"a": 2.0}))
    assert sql("SELECT name, score FROM scored ORDER BY score") == [(name, 2 * a) for name, a in PEOPLE]


@pytest.mark.parametrize("load", ["replace", "append", "upsert"])
def test_where_the_source_holds_keys_for_one_the_target_does_and_a_refusal_names_them(
    people, score, weighted_sum, sql, load
):
    people("VARCHAR COLLATE NOCASE")
    with pytest.raises(
        KeyColumnError, match=r"1 of its values occur more than once \('(Ann|ann|ANN)', '.*', '.*'\)\. Nothing"
    ):
        score(spec_of(load), weighted_sum({"a": 2.0}))
    assert sql("SELECT count(*) FROM scored") == [(0,)]


@pytest.mark.parametrize("source", ["people", {"query": "SELECT name, a FROM people"}])
def test_upsert_finds_a_key_as_the_source_compares_it(people, score, weighted_sum, sql, source):
    people("VARCHAR COLLATE NOCASE", [("Ann", 1.0), ("Bob", 2.0)])
    spec = spec_of("upsert", source)
    score(spec, weighted_sum({"a": 2.0}))
    people("VARCHAR COLLATE NOCASE", [("ANN", 5.0), ("Cid", 3.0)])
    (loaded,) = score(spec, weighted_sum({"a": 2.0}), run_id="run-2")
    assert (loaded.loaded.inserted, loaded.loaded.updated) == (1, 1)
    assert sql("SELECT lower(name), score FROM scored ORDER BY ALL") == [("ann", 10.0), ("bob", 4.0), ("cid", 6.0)]


def test_a_target_that_stands_compares_as_it_does(people, score, weighted_sum, sql):
    people("VARCHAR")
    score(spec_of("upsert"), weighted_sum({"a": 2.0}))
    people("VARCHAR COLLATE NOCASE", [("ann", 7.0)])
    score(spec_of("upsert"), weighted_sum({"a": 2.0}), run_id="run-2")
    assert sql("SELECT name, score FROM scored ORDER BY name") == [
        ("ANN", 6.0), ("Ann", 2.0), ("ann", 14.0), ("Änn", 8.0),
    ]  # fmt: skip


def test_a_refusal_names_three_keys_at_most_and_all_their_columns(sql, score, weighted_sum):
    sql(
        "CREATE TABLE people AS SELECT i % 5 AS id, DATE '2026-01-01' AS day, 'x ' AS name, 1.0::FLOAT AS a FROM range(10) r(i)"
    )
    with pytest.raises(KeyColumnError) as refused:
        score(spec_of(key=["id", "day", "name"]), weighted_sum({"a": 2.0}))
    assert "5 of its values occur more than once ((" in str(refused.value)
    named = str(refused.value).partition("once (")[2].partition("). Nothing")[0]
    assert named.count(", 2026-01-01, 'x ')") == 3


def test_a_key_of_an_enum_is_a_text(people, score, weighted_sum, sql):
    people("ENUM('Ann', 'ann', 'ANN', 'Änn')")
    score(spec_of(), weighted_sum({"a": 2.0}))
    assert sql("SELECT name, score FROM scored ORDER BY score") == [(name, 2 * a) for name, a in PEOPLE]


def test_buckets_of_instants_are_the_same_in_every_time_zone_of_the_machine(
    pool, sql, score, weighted_sum, monkeypatch
):
    sql("CREATE TABLE visits AS SELECT TIMESTAMPTZ '2026-03-28 20:00:00+00' + INTERVAL (i) MINUTE AS at, 1::FLOAT AS a FROM range(900) AS r(i)")  # fmt: skip
    sql("INSERT INTO visits VALUES ('infinity', 1), ('-infinity', 1)")
    spec = ScoringSpec(name="s", onnx="m.onnx", source="visits", key=["at"], target="scored", partitions={"buckets": 5})
    # As an earlier version had it on a machine whose clock is UTC.
    first = datetime.datetime(2026, 3, 28, 20)
    texts = [f"{first + datetime.timedelta(minutes=minute)}+00" for minute in range(900)] + ["infinity", "-infinity"]
    truth = Counter(f"bucket_{int.from_bytes(hashlib.md5(text.encode()).digest()[:3], 'big') % 5}" for text in texts)
    counts = {}
    for zone in ("UTC", "Asia/Kolkata", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        counts[zone] = {key: piece.rows for key, piece in take_inventory(spec, pool, partitioning(spec)).slices.items()}
    assert counts == dict.fromkeys(counts, truth)
    score(spec, weighted_sum({"a": 1.0}))
    monkeypatch.undo()
    time.tzset()
    assert sql('SELECT count(*), count(DISTINCT "at") FROM scored') == [(902, 902)]
