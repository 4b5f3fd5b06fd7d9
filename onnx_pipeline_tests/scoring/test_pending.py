"""Which slices need scoring, and why."""

import pytest

from onnx_pipeline.base.errors import TargetError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import PendingSlice, Reason, contiguous, outlook, pending
from onnx_pipeline.spec.scoring import ScoringSpec

SITES = ["a", "b", "c", "d"]


@pytest.fixture
def events(sql):
    """Three rows at each of the sites a, b and c; none at d, and one at a site that is not listed."""
    sql("CREATE TABLE events (id BIGINT, site VARCHAR, x FLOAT, updated_at TIMESTAMP)")
    sql(
        "INSERT INTO events SELECT range, ['a', 'b', 'c'][range // 3 + 1], range, TIMESTAMP '2026-01-01' FROM range(9) "
        "UNION ALL SELECT 99, 'elsewhere', 1, NULL"
    )


def spec_of(*, changed=None, **options):
    return ScoringSpec(
        name="s", onnx="m", source={"table": "events", "changed": changed}, key=["id"], target="scores",
        partitions={"column": "site", "values": SITES}, **options,
    )  # fmt: skip


@pytest.fixture
def model(weighted_sum):
    return weighted_sum({"x": 1.0})


@pytest.fixture
def found(pool):
    """`found(spec, sha)` → `{partition: reason}`."""

    def run(spec, sha):
        return {piece.partition_key: piece.reason for piece in pending(spec, pool, partitioning(spec), sha)}

    return run


def test_what_was_never_scored_and_has_rows_is_pending(events, pool, model):
    spec = spec_of()
    assert pending(spec, pool, partitioning(spec), model.sha256) == [
        PendingSlice(site, Reason.NEVER_SCORED, 3, "") for site in "abc"
    ]


@pytest.mark.parametrize("changed", [None, "updated_at", "x", "id"])
def test_what_was_scored_is_not(events, score, found, model, changed):
    spec = spec_of(changed=changed)
    score(spec, model, ["a", "b"])
    assert found(spec, model.sha256) == {"c": Reason.NEVER_SCORED}
    score(spec, model)
    assert found(spec, model.sha256) == {}


@pytest.mark.parametrize(
    "kind",
    ["DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ", "VARCHAR", "TIME"],
)
def test_the_fingerprint_of_a_changed_column_is_the_same_on_both_ways_to_it(events, sql, score, found, model, kind):
    sql("UPDATE events SET updated_at = TIMESTAMP '2026-01-01 12:34:56.789123' + INTERVAL 1 HOUR * id WHERE id < 99")
    sql("UPDATE events SET updated_at = NULL WHERE id IN (0, 3, 4, 5)")
    sql(f"ALTER TABLE events ALTER updated_at TYPE {kind}")
    spec = spec_of(changed="updated_at")
    score(spec, model)
    assert found(spec, model.sha256) == {}


@pytest.mark.parametrize("kind", ["INTEGER", "UBIGINT", "HUGEINT", "DECIMAL(18, 3)", "DOUBLE", "FLOAT"])
def test_a_changed_column_may_be_a_number(events, sql, score, found, model, kind):
    sql(f"ALTER TABLE events ADD COLUMN version {kind}")
    sql("UPDATE events SET version = id + 0.5 WHERE id % 2 = 0")
    spec = spec_of(changed="version")
    score(spec, model)
    assert found(spec, model.sha256) == {}
    sql("UPDATE events SET version = 1000 WHERE id = 4")
    assert found(spec, model.sha256) == {"b": Reason.SOURCE_CHANGED}


def test_another_number_of_rows_is_a_change(events, sql, score, pool, model):
    spec = spec_of()
    score(spec, model)
    sql("INSERT INTO events VALUES (50, 'b', 1, NULL)")
    sql("DELETE FROM events WHERE id = 0")
    assert pending(spec, pool, partitioning(spec), model.sha256) == [
        PendingSlice("a", Reason.SOURCE_CHANGED, 2, "3 → 2 rows"),
        PendingSlice("b", Reason.SOURCE_CHANGED, 4, "3 → 4 rows"),
    ]


def test_the_changed_column_alone_tells_of_a_row_that_was_updated(events, sql, score, pool, found, model):
    watching, blind = spec_of(changed="updated_at"), spec_of()
    score(watching, model)
    sql("UPDATE events SET x = 100, updated_at = TIMESTAMP '2026-05-05 06:07:08' WHERE id = 4")
    (piece,) = pending(watching, pool, partitioning(watching), model.sha256)
    assert (piece.partition_key, piece.reason, piece.rows) == ("b", Reason.SOURCE_CHANGED, 3)
    assert piece.detail == "changed 2026-01-01T00:00:00 → 2026-05-05T06:07:08"
    score(watching, model, ["b"])
    assert found(watching, model.sha256) == {}
    assert blind.source_spec.changed is None


def test_without_a_changed_column_an_update_goes_unseen(events, sql, score, found, model):
    score(spec_of(), model)
    sql("UPDATE events SET x = 100")
    assert found(spec_of(), model.sha256) == {}


def test_a_slice_that_lost_its_rows_is_pending_and_scoring_it_empties_the_target(
    events, sql, score, pool, found, model
):
    spec = spec_of()
    score(spec, model)
    sql("DELETE FROM events WHERE site = 'b'")
    assert pending(spec, pool, partitioning(spec), model.sha256) == [
        PendingSlice("b", Reason.SOURCE_CHANGED, 0, "3 → 0 rows")
    ]
    score(spec, model, ["b"])
    assert sql("SELECT partition_key, count(*) FROM scores GROUP BY ALL ORDER BY ALL") == [("a", 3), ("c", 3)]
    assert found(spec, model.sha256) == {}


@pytest.mark.parametrize(
    ("rescore", "expected"),
    [
        ("none", []),
        ("latest 1", ["c"]),
        ("latest 2", ["b", "c"]),
        ("latest 9", ["a", "b", "c"]),
        ("all", ["a", "b", "c"]),
    ],
)
def test_a_new_model_rescores_what_the_spec_says(events, score, pool, found, model, weighted_sum, rescore, expected):
    spec = spec_of(rescore=rescore)
    score(spec, model)
    new = weighted_sum({"x": 2.0})
    assert found(spec, new.sha256) == dict.fromkeys(expected, Reason.MODEL_CHANGED)
    assert found(spec, model.sha256) == {}
    assert found(spec, None) == {}
    for piece in pending(spec, pool, partitioning(spec), new.sha256):
        assert piece.detail == f"{model.sha256[:12]} → {new.sha256[:12]}"


def test_a_changed_source_is_the_reason_also_where_the_model_is_new(events, sql, score, found, model, weighted_sum):
    spec = spec_of(rescore="all")
    score(spec, model)
    sql("DELETE FROM events WHERE id = 0")
    reasons = found(spec, weighted_sum({"x": 2.0}).sha256)
    assert reasons == {"a": Reason.SOURCE_CHANGED, "b": Reason.MODEL_CHANGED, "c": Reason.MODEL_CHANGED}


def test_an_appended_slice_is_never_pending_again(events, sql, score, found, model, weighted_sum):
    spec = spec_of(load_mode="append", rescore="all")
    score(spec, model, ["a"])
    sql("DELETE FROM events WHERE id = 0")
    assert found(spec, weighted_sum({"x": 2.0}).sha256) == {"b": Reason.NEVER_SCORED, "c": Reason.NEVER_SCORED}


def test_another_scoring_of_the_same_table_has_a_log_of_its_own(events, score, found, model):
    score(spec_of(), model)
    other = ScoringSpec(**{**spec_of().model_dump(), "name": "other", "target": "other"})
    assert set(found(other, model.sha256)) == {"a", "b", "c"}


def test_runs_take_neighbours_together_and_not_too_many():
    pieces = [PendingSlice(key, Reason.NEVER_SCORED, 1, "") for key in "abcegh"]
    groups = contiguous(pieces, "abcdefgh", most=2)
    assert [[piece.partition_key for piece in group] for group in groups] == [["a", "b"], ["c"], ["e"], ["g", "h"]]
    assert contiguous([], "abc", most=2) == []


# Settings, targets and partitions that are no longer what the spec says


def respelled(spec, **changes):
    return ScoringSpec(**{**spec.model_dump(), **changes})


@pytest.fixture
def looked(pool):
    """`looked(spec, sha)`: slices with their details, what is left, and notes."""

    def run(spec, sha):
        seen = outlook(spec, pool, partitioning(spec), sha)
        return {piece.partition_key: (piece.reason, piece.detail) for piece in seen.slices}, dict(seen.left), seen.notes

    return run


@pytest.fixture
def wide_model(weighted_sum):
    return weighted_sum({"x": 1.0, "id": 0.5})


CHANGES = [
    ({"features": {"x": "id"}}, "features"),
    ({"nulls": {"x": 0}}, "nulls"),
    ({"source": {"query": "SELECT * FROM events"}}, "source"),
    ({"checks": {"nan_predictions": "allow"}}, "nan_predictions"),
    ({"features": {"x": "id"}, "nulls": {"id": 1.5}}, "features, nulls"),
]


@pytest.mark.parametrize(("changes", "named"), CHANGES)
def test_other_settings_are_named_and_rescored_as_a_new_model_is(events, score, looked, model, changes, named):
    spec = spec_of(rescore="latest 2")
    score(spec, model)
    changed = respelled(spec, **changes)
    slices, left, notes = looked(changed, model.sha256)
    assert slices == dict.fromkeys("bc", (Reason.SETTINGS_CHANGED, named))
    assert left == {Reason.SETTINGS_CHANGED: 1}
    assert notes == [
        f"1 partition was scored with other settings ({named}); `onnx-pipeline run --force s` scores them again"
    ]
    score(changed, model, ["b", "c"])
    assert looked(changed, model.sha256)[0] == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"features": {"x": "x"}},
        {"features": {"x": "X"}},
        {"features": {"x": ["x"]}},
        {"outputs": {"score": "score"}},
        {"key": ["ID"]},
        {"schedule": "0 6 * * *", "group": "other", "partitions_per_run": 3, "rescore": "all"},
        {"checks": {"psi": 0.5, "null_rate": 0.9, "blocking": ["psi"]}},
        {"source": {"table": "events", "changed": None}},
        {"partitions": {"column": "site", "values": ["a", "b", "c"]}},
    ],
)
def test_what_decides_no_prediction_or_says_the_same_makes_nothing_pending(events, score, looked, model, changes):
    spec = spec_of(rescore="all")
    score(spec, model)
    assert looked(respelled(spec, **changes), model.sha256) == ({}, {}, [])


def test_under_none_slices_of_other_settings_and_models_are_counted(events, score, looked, model, weighted_sum):
    spec = spec_of()
    score(spec, model)
    changed = respelled(spec, nulls={"x": 3})
    slices, left, notes = looked(changed, weighted_sum({"x": 2.0}).sha256)
    assert (slices, left) == ({}, {Reason.MODEL_CHANGED: 3, Reason.SETTINGS_CHANGED: 3})
    assert notes[0] == "3 partitions were scored by another model; `onnx-pipeline run --force s` scores them again"
    assert notes[1].startswith("3 partitions were scored with other settings (nulls); ")


def test_a_row_without_a_fingerprint_counts_as_equal_and_the_next_load_fills_it_in(events, sql, score, looked, model):
    spec = spec_of(rescore="all")
    score(spec, model)
    sql("UPDATE onnx_scoring_log SET settings = NULL, target = NULL, partitions = NULL")
    changed = respelled(spec, nulls={"x": 3})
    assert looked(changed, model.sha256)[:2] == ({}, {})
    score(changed, model, ["a"])
    filled = sql("SELECT partition_key, target, settings IS NULL FROM onnx_scoring_log ORDER BY ALL")
    assert filled == [("a", "main.scores", False), *((site, None, True) for site in "bcd")]
    assert looked(spec, model.sha256)[0] == {"a": (Reason.SETTINGS_CHANGED, "nulls")}


def test_the_latest_partitions_are_those_that_have_rows_scored_or_not(events, sql, score, looked, model, weighted_sum):
    spec = spec_of(rescore="latest 2")
    score(spec, model, ["a", "b"])
    new = weighted_sum({"x": 2.0})
    assert {key: reason for key, (reason, _) in looked(spec, new.sha256)[0].items()} == {
        "b": Reason.MODEL_CHANGED,
        "c": Reason.NEVER_SCORED,
    }


def test_everything_is_pending_in_a_new_target_and_the_old_one_is_named_and_left(events, sql, score, looked, model):
    for mode in ("replace", "append"):
        spec = spec_of(load_mode=mode)
        score(respelled(spec, target=f"{mode}_1"), model)
        second = respelled(spec, target=f"{mode}_2")
        slices, _, notes = looked(second, model.sha256)
        assert set(slices) == {"a", "b", "c"}
        assert (
            f"3 partitions of this scoring stand in main.{mode}_1 as they were; the target is now main.{mode}_2"
            in notes
        )
        score(second, model)
        assert sql(f"SELECT count(*) FROM {mode}_1") == sql(f"SELECT count(*) FROM {mode}_2") == [(9,)]
        # Back at the old one, its own rows of the log are found again.
        assert looked(respelled(spec, target=f"MAIN.{mode}_1"), model.sha256)[0] == {}


def test_what_stands_of_partitions_that_the_spec_no_longer_has_is_named(events, sql, score, looked, model):
    spec = spec_of()
    score(spec, model)
    fewer = respelled(spec, partitions={"column": "site", "values": ["c", "d"]})
    slices, _, notes = looked(fewer, model.sha256)
    assert slices == {}
    (note,) = notes
    assert note.startswith("2 partitions that the spec no longer has stand in main.scores as they were: 'a', 'b'. ")
    # What it says leaves nothing behind.
    sql("DELETE FROM scores WHERE partition_key IN ('a', 'b')")
    sql("DELETE FROM onnx_scoring_log WHERE partition_key IN ('a', 'b')")
    assert looked(fewer, model.sha256) == ({}, {}, [])
    assert set(looked(spec, model.sha256)[0]) == {"a", "b"}


def test_a_target_that_is_missing_makes_everything_pending(events, sql, score, looked, model):
    spec = spec_of()
    score(spec, model)
    sql("DROP TABLE scores")
    sql("DELETE FROM events WHERE site = 'b'")
    slices, _, notes = looked(spec, model.sha256)
    assert slices == dict.fromkeys("ac", (Reason.TARGET_MISSING, "main.scores"))
    assert notes == ["table main.scores is missing, and 3 partitions that stood there are scored again"]
    score(spec, model, ["a"])
    assert looked(spec, model.sha256)[0] == {"c": (Reason.NEVER_SCORED, "")}


@pytest.mark.parametrize("said", [True, False], ids=["logged", "of a log from before"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"buckets": 8}, {"buckets": 3}),
        ({"column": "updated_at", "every": "day", "start": "2025-12-30"}, {"column": "updated_at", "every": "month", "start": "2025-12-01"}),
        ({"column": "site", "values": SITES}, "none"),
        ("none", {"column": "updated_at", "every": "month", "start": "2026-01-01"}),
    ],
)  # fmt: skip
def test_partitions_that_cut_otherwise_are_refused_before_a_load_and_by_it(
    events, sql, score, pool, looked, model, before, after, said
):
    sql("UPDATE events SET updated_at = TIMESTAMP '2026-01-02'")
    spec = spec_of()
    first = respelled(spec, partitions=before)
    score(first, model, partitioning(first).keys()[:8])
    standing = sql("SELECT * FROM scores ORDER BY ALL")
    if not said:
        sql("UPDATE onnx_scoring_log SET partitions = NULL")
    changed = respelled(spec, partitions=after)
    with pytest.raises(TargetError, match="onnx-pipeline repartition s"):
        looked(changed, model.sha256)
    for mode in ("replace", "append", "upsert"):
        keys = list(partitioning(changed).keys())[-1:]
        with pytest.raises(TargetError, match="onnx-pipeline repartition s"):
            score(respelled(changed, load_mode=mode), model, keys)
    assert sql("SELECT * FROM scores ORDER BY ALL") == standing


@pytest.mark.parametrize("said", [True, False], ids=["logged", "of a log from before"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"column": "site", "values": SITES}, {"column": "site", "values": ["c", "b", "new"]}),
        (
            {"column": "updated_at", "every": "day", "start": "2026-01-01"},
            {"column": "updated_at", "every": "day", "start": "2026-03-01"},
        ),
        (
            {"column": "updated_at", "every": "month", "start": "2026-01-01", "end_offset": 3},
            {"column": "updated_at", "every": "month", "start": "2025-06-01"},
        ),
    ],
)
def test_partitions_that_grow_or_shrink_are_no_other_way(events, sql, score, looked, model, before, after, said):
    spec = spec_of()
    first = respelled(spec, partitions=before)
    keys = partitioning(first).keys()
    score(first, model, [*keys[:3], keys[-1]])
    if not said:
        sql("UPDATE onnx_scoring_log SET partitions = NULL")
    looked(respelled(spec, partitions=after), model.sha256)


def test_a_target_of_another_scoring_is_refused_with_its_name(events, score, looked, model):
    spec = spec_of()
    score(spec, model)
    other = respelled(spec, name="other", target="MAIN.scores")
    with pytest.raises(TargetError, match="other: table main.scores is the target of scoring s,"):
        looked(other, model.sha256)
    with pytest.raises(TargetError, match="other: table main.scores is the target of scoring s,"):
        score(other, model)
