"""Which slices `run --partition`, `--range`, `--all` and `--force` score."""

import pytest

from onnx_pipeline.base.errors import PartitionError, SpecError
from onnx_pipeline.scoring.pending import Reason
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.request import Request, requested
from onnx_pipeline.spec.scoring import ScoringSpec

SITES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def events(sql):
    """Three rows at each of the sites a, b and c; none at d and e."""
    sql("CREATE TABLE events (id BIGINT, site VARCHAR, x FLOAT)")
    sql("INSERT INTO events SELECT range, ['a', 'b', 'c'][range // 3 + 1], range FROM range(9)")


def spec_of(values=SITES, **options):
    return ScoringSpec(
        name="s", onnx="m", source="events", key=["id"], target="scores",
        partitions={"column": "site", "values": values}, **options,
    )  # fmt: skip


@pytest.fixture
def asked(events, pool, weighted_sum):
    """`asked(spec, partitions=["a"])` → `{partition: rows}`."""

    def run(spec, *, weight=1.0, **request):
        plan = ScoringPlan(spec, weighted_sum({"x": weight}), pool.source(spec))
        return {piece.partition_key: piece.rows for piece in requested(plan, pool, Request(**request)).slices}

    return run


@pytest.fixture
def scored(events, score, weighted_sum):
    def run(spec, keys):
        score(spec, weighted_sum({"x": 1.0}), keys)

    return run


def test_partitions_that_are_named_are_scored_pending_or_not_in_their_order(asked, scored):
    scored(spec_of(), ["a"])
    assert asked(spec_of()) == {"b": 3, "c": 3}
    assert list(asked(spec_of(), partitions=["c", "a", "c"])) == ["a", "c"]
    assert asked(spec_of(), partitions=["d"]) == {"d": 0}


def test_what_was_asked_for_says_so(events, pool, weighted_sum):
    plan = ScoringPlan(spec_of(), weighted_sum({"x": 1.0}), pool.source(spec_of()))
    assert [piece.reason for piece in requested(plan, pool, Request(partitions=["a"])).slices] == [Reason.ASKED_FOR]


def test_a_range_has_both_its_ends(asked):
    assert asked(spec_of(), span="b..d") == {"b": 3, "c": 3, "d": 0}
    assert asked(spec_of(), span="b..b") == {"b": 3}


def test_everything_is_what_has_rows_and_what_had_some(asked, scored, sql):
    assert asked(spec_of(), everything=True) == {"a": 3, "b": 3, "c": 3}
    scored(spec_of(), ["a", "b"])
    sql("DELETE FROM events WHERE site = 'b'")
    assert asked(spec_of(), everything=True) == {"a": 3, "b": 0, "c": 3}


def test_force_is_what_rescore_all_would_score(asked, scored):
    scored(spec_of(), ["a", "b", "c"])
    for rescore in ("none", "latest 1", "all"):
        assert asked(spec_of(rescore=rescore), force=True) == {}
        assert asked(spec_of(rescore=rescore), weight=2.0, force=True) == {"a": 3, "b": 3, "c": 3}
    assert asked(spec_of(), weight=2.0) == {}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"partitions": ["a", "z"]}, "there is no partition 'z'; there are: a, b"),
        ({"span": "a..z"}, "there is no partition 'z'"),
        ({"span": "z..a"}, "there is no partition 'z'"),
        ({"span": "c..a"}, "from 'c' to 'a' holds no partition; the first one comes after the last. Exchange them"),
        ({"span": "a"}, "--range 'a' is no range: write its first and its last partition with `..` between"),
        ({"span": "..a"}, "there is no partition ''"),
    ],
)
def test_a_partition_that_does_not_exist_is_refused_by_name(asked, request_, message):
    with pytest.raises(PartitionError, match=message.replace("..", r"\.\.").replace("(", r"\(")):
        asked(spec_of(), **request_)


def test_a_key_may_hold_two_dots_itself(asked):
    spec = spec_of(["a..b", "c", "d..e", "f"])
    assert list(asked(spec, span="a..b..c")) == ["a..b", "c"]
    assert list(asked(spec, span="a..b..d..e")) == ["a..b", "c", "d..e"]
    with pytest.raises(PartitionError, match=r"may mean 'a' to 'b\.\.c' or 'a\.\.b' to 'c'; name its partitions by"):
        asked(spec_of(["a", "a..b", "b..c", "c"]), span="a..b..c")


@pytest.mark.parametrize("request_", [{"partitions": ["a", "c"]}, {"span": "a..c"}, {"everything": True}])
def test_a_slice_that_append_loaded_is_refused_with_what_to_do(asked, scored, request_):
    spec = spec_of(load_mode="append")
    scored(spec, ["a"])
    assert asked(spec, partitions=["b"]) == {"b": 3}
    with pytest.raises(
        SpecError, match="s: 'a' stand in scores already, and `load: append` loads a partition once.*delete"
    ):
        asked(spec, **request_)


def test_force_has_nothing_to_do_where_slices_are_appended(asked):
    with pytest.raises(SpecError, match="so --force has nothing that it could score again"):
        asked(spec_of(load_mode="append"), force=True)


def test_a_table_without_partitions_is_one_that_is_called_all(asked):
    spec = ScoringSpec(name="s", onnx="m", source="events", key=["id"], target="scores")
    assert asked(spec, partitions=["all"]) == {"all": 9}
    assert asked(spec, everything=True) == {"all": 9}
    with pytest.raises(PartitionError, match="there is no partition 'a'"):
        asked(spec, partitions=["a"])
