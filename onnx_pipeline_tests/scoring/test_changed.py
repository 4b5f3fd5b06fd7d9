"""The greatest `changed` of a slice: the pool's inventory and what was staged find the same one, whatever the type."""

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import PendingSlice, Reason, outlook, pending
from onnx_pipeline.spec.scoring import ScoringSpec

SPEC = ScoringSpec(
    name="s", onnx="m", source={"table": "events", "changed": "touched"}, key=["id"], target="scores",
    partitions={"column": "site", "values": ["a", "b"]},
)  # fmt: skip


@pytest.fixture
def events(sql):
    """`events(kind, values)`: at each of two sites one row per value, in this order."""

    def make(kind, values):
        sql(f"CREATE TABLE events (id BIGINT, site VARCHAR, x FLOAT, touched {kind})")
        for index, value in enumerate([*values, *values]):
            site = "a" if index < len(values) else "b"
            sql(f"INSERT INTO events VALUES (?, ?, 1, ?::{kind})", [index, site, value])

    return make


@pytest.mark.parametrize(
    ("kind", "values", "greatest"),
    [
        # NOCASE holds `a` for the lesser one.
        ("VARCHAR COLLATE NOCASE", ["a", "B", None], "a"),
        ("VARCHAR", ["a", "B", "é", "e\u0301"], "é"),
        ("ENUM('v2', 'v1')", ["v1", "v2"], "v2"),
        ("DOUBLE", ["1", "nan", None], "nan"),
        ("DOUBLE", ["1", "infinity"], "inf"),
        ("DOUBLE", ["0.0", "-0.0"], "0.0"),
        ("FLOAT", ["-0.0", "0.0", None], "0.0"),
        ("FLOAT", ["-0.0"], "0.0"),
        ("BOOLEAN", ["false", "true"], "True"),
        ("BLOB", ["\\x00\\x02", "\\x00\\x01\\xFF"], "b'\\x00\\x02'"),
        ("HUGEINT", ["99999999999999999999999999999999999999", "1"], "99999999999999999999999999999999999999"),
        ("TIME", ["23:59:59.5", "10:00:00"], "23:59:59.500000"),
        # An hour that happens twice in Berlin: the later instant has the same reading on the wall.
        ("TIMESTAMPTZ", ["2026-10-25 02:30:00+02", "2026-10-25 02:30:00+01"], "2026-10-25T01:30:00+00:00"),
    ],
)
def test_once_scored_nothing_is_pending(events, pool, sql, score, weighted_sum, kind, values, greatest):
    events(kind, values)
    parts = partitioning(SPEC)
    # Together, which places rows here, and one alone.
    score(SPEC, weighted_sum({"x": 1.0}))
    assert {key: log.fingerprint.changed for key, log in pool.scoring_log("s").items()} == {
        "a": greatest,
        "b": greatest,
    }
    assert pending(SPEC, pool, parts, None) == []
    score(SPEC, weighted_sum({"x": 1.0}), ["a"])
    assert pending(SPEC, pool, parts, None) == []
    sql("UPDATE events SET touched = NULL WHERE site = 'b'")
    assert pending(SPEC, pool, parts, None) == [
        PendingSlice("b", Reason.SOURCE_CHANGED, len(values), f"changed {greatest} → never")
    ]


@pytest.mark.parametrize(
    ("kind", "value"), [("INTEGER[]", "[1]"), ("STRUCT(a INTEGER)", "{'a': 1}"), ("INTERVAL", "1 day")]
)
def test_a_type_without_a_latest_value_is_refused_by_name(events, pool, score, weighted_sum, kind, value):
    events(kind, [value])
    told = r"source\.changed: column 'touched' is .*, of which no value is the latest.* Name a time or a number"
    with pytest.raises(SpecError, match=told):
        score(SPEC, weighted_sum({"x": 1.0}))
    with pytest.raises(SpecError, match=told):
        pending(SPEC, pool, partitioning(SPEC), None)


def test_rows_that_append_will_not_load_are_told(events, pool, sql, score, weighted_sum):
    events("TIMESTAMP", ["2026-01-01", "2026-01-02"])
    spec = SPEC.model_copy(update={"load_mode": "append"})
    score(spec, weighted_sum({"x": 1.0}))
    assert outlook(spec, pool, partitioning(spec), None).notes == []
    sql("INSERT INTO events VALUES (9, 'a', 1, '2026-01-02')")
    sql("DELETE FROM events WHERE site = 'b'")
    look = outlook(spec, pool, partitioning(spec), None)
    assert (look.slices, look.left) == ([], {Reason.SOURCE_CHANGED: 2})
    assert look.notes == ["2 partitions were scored before their rows changed; `load: append` loads a partition once"]
