"""Which slices need scoring, and why."""

import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import PendingSlice, Reason, contiguous, pending
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
