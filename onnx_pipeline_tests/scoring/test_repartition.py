"""A change of `partitions` of a scoring that was scored: each row stands once afterwards, in the partition that it has now."""

import pytest

from onnx_pipeline.base.errors import SpecError, StagingError, TargetError
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.records import LOG_TABLE
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.repartition import Repartition, side_of
from onnx_pipeline.spec.scoring import ScoringSpec

BUCKETS_8, BUCKETS_3 = {"buckets": 8}, {"buckets": 3}
BY_DAY = {"column": "day", "every": "day", "start": "2026-01-01"}
BY_MONTH = {"column": "day", "every": "month", "start": "2026-01-01"}
BACKUP = "scores_before_repartition"


@pytest.fixture
def visits(sql):
    """90 visits, one a day from the first of January on."""
    sql("CREATE TABLE visits AS SELECT range AS id, range::FLOAT AS x, DATE '2026-01-01' + INTERVAL 1 DAY * range AS day FROM range(90)")  # fmt: skip


def spec_of(partitions, **options):
    values = {"name": "s", "onnx": "m", "source": "visits", "key": ["id"], "target": "scores", "partitions": partitions}
    return ScoringSpec(**values | options)


@pytest.fixture
def model(weighted_sum) -> OnnxModel:
    return weighted_sum({"x": 2.0})


@pytest.fixture
def repartition(visits, pool, score, model):
    """`repartition(spec)` does what the command does, without Dagster; gives the slices that were scored."""

    def run(spec, *, keep=False, most=None, exchange=True, by=model):
        plan = ScoringPlan(spec, by, pool.source(spec))
        work = Repartition(plan, pool, keep=keep)
        start = work.start()
        if start is None:
            return None
        keys = [piece.partition_key for piece in start.slices][:most]
        score(side_of(spec), by, keys, run_id="again")
        if exchange:
            work.refuse_loss(work.gone())
            work.exchange()
        return keys

    return run


@pytest.fixture
def standing(sql):
    """`(rows, ids, wrong scores)` of the target."""

    def look(table="scores"):
        return sql(f"SELECT count(*), count(DISTINCT id), count(*) FILTER (score <> 2 * id) FROM {table}")[0]

    return look


@pytest.mark.parametrize(
    ("before", "now"),
    [(BUCKETS_8, BUCKETS_3), (BUCKETS_3, BUCKETS_8), (BY_DAY, BY_MONTH), (BY_MONTH, "none"), ("none", BY_DAY)],
)
@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_each_row_stands_once_in_the_partition_that_it_has_now(
    before, now, mode, pool, sql, score, model, repartition, standing
):
    score(spec_of(before, load_mode=mode), model)
    assert standing() == (90, 90, 0)
    spec = spec_of(now, load_mode=mode)
    with pytest.raises(TargetError, match="onnx-pipeline repartition s"):
        pending(spec, pool, partitioning(spec), model.sha256)
    with pytest.raises(TargetError, match="onnx-pipeline repartition s"):
        score(spec, model)
    assert standing() == (90, 90, 0)
    assert repartition(spec)
    assert standing() == (90, 90, 0)
    assert sql("SELECT count(*) FROM scores WHERE run_id <> 'again'") == [(0,)]
    logged = sql(f"SELECT partition_key, rows FROM {LOG_TABLE} WHERE rows > 0 ORDER BY ALL")
    assert logged == sql("SELECT partition_key, count(*) FROM scores GROUP BY 1 ORDER BY 1")
    assert sql(f"SELECT DISTINCT target FROM {LOG_TABLE}") == [("main.scores",)]
    assert pending(spec, pool, partitioning(spec), model.sha256) == []
    assert sql("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%repartition%'") == []
    assert repartition(spec) is None


def test_what_was_scored_beside_the_target_is_not_scored_again(score, model, repartition, standing, visits):
    score(spec_of(BY_DAY), model)
    assert repartition(spec_of(BUCKETS_8), most=3, exchange=False) == ["bucket_0", "bucket_1", "bucket_2"]
    assert standing() == (90, 90, 0)
    assert repartition(spec_of(BUCKETS_8)) == [f"bucket_{index}" for index in range(3, 8)]
    assert standing() == (90, 90, 0)


def test_what_changed_since_is_scored_again(score, model, sql, repartition, standing, weighted_sum, visits):
    score(spec_of(BY_DAY), model)
    repartition(spec_of(BUCKETS_3), exchange=False)
    sql("INSERT INTO visits VALUES (1000, 1000, DATE '2026-01-05')")
    ((bucket,),) = sql("SELECT partition_key FROM scores_onnx_repartition WHERE id = 5")
    again = repartition(spec_of(BUCKETS_3), exchange=False)
    assert len(again) == 1
    other = weighted_sum({"x": 4.0})
    assert repartition(spec_of(BUCKETS_3), by=other) == ["bucket_0", "bucket_1", "bucket_2"]
    assert sql("SELECT count(*), count(*) FILTER (score = 4 * id) FROM scores") == [(91, 91)]


def test_another_change_meanwhile_starts_anew(score, model, repartition, standing, visits):
    score(spec_of(BY_DAY), model)
    repartition(spec_of(BUCKETS_8), most=3, exchange=False)
    assert repartition(spec_of(BUCKETS_3)) == ["bucket_0", "bucket_1", "bucket_2"]
    assert standing() == (90, 90, 0)


def test_a_log_of_an_earlier_version_is_taken_over(pool, sql, score, model, repartition, standing, visits):
    score(spec_of(BUCKETS_8), model)
    sql(f"UPDATE {LOG_TABLE} SET target = NULL, settings = NULL, partitions = NULL")
    repartition(spec_of(BUCKETS_3), most=1, exchange=False)
    # Killed here, the old table stands, and so does its log.
    assert standing() == (90, 90, 0)
    assert sql(f"SELECT count(*) FROM {LOG_TABLE} WHERE target = 'main.scores'") == [(8,)]
    assert repartition(spec_of(BUCKETS_3)) == ["bucket_1", "bucket_2"]
    assert standing() == (90, 90, 0)
    assert sql(f"SELECT count(*) FROM {LOG_TABLE}") == [(3,)]


def test_what_stood_is_kept_on_request_and_not_twice(score, model, sql, repartition, standing, visits):
    score(spec_of(BUCKETS_8), model)
    repartition(spec_of(BUCKETS_3), keep=True)
    assert standing() == standing(BACKUP) == (90, 90, 0)
    assert sql(f"SELECT count(DISTINCT partition_key) FROM {BACKUP}") == [(8,)]
    with pytest.raises(SpecError, match=f"{BACKUP} holds rows that an earlier --keep left. Nothing was exchanged"):
        repartition(spec_of(BUCKETS_8), keep=True)
    repartition(spec_of(BUCKETS_8))
    assert standing() == (90, 90, 0)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_rows_that_left_the_source_are_not_lost_where_the_load_mode_keeps_them(
    mode, score, model, sql, repartition, standing, visits
):
    score(spec_of(BUCKETS_8, load_mode=mode), model)
    sql("DELETE FROM visits WHERE id < 7")
    spec = spec_of(BUCKETS_3, load_mode=mode)
    with pytest.raises(SpecError, match=f"7 rows of scores have keys that were not scored anew, which `load: {mode}`"):
        repartition(spec)
    assert standing() == (90, 90, 0)
    repartition(spec, keep=True)
    assert (standing(), standing(BACKUP)) == ((83, 83, 0), (90, 90, 0))


def test_rows_that_left_the_source_leave_a_target_whose_slices_are_replaced(
    score, model, sql, repartition, standing, visits
):
    score(spec_of(BUCKETS_8), model)
    sql("DELETE FROM visits WHERE id < 7")
    repartition(spec_of(BUCKETS_3))
    assert standing() == (83, 83, 0)


def test_a_way_that_no_row_falls_into_empties_nothing(score, model, repartition, standing, visits):
    score(spec_of(BUCKETS_8), model)
    with pytest.raises(SpecError, match="no partition has rows, so scores would be emptied. It is as it was"):
        repartition(spec_of({**BY_MONTH, "start": "2026-06-01"}))
    assert standing() == (90, 90, 0)


def test_nothing_is_to_do_where_nothing_was_cut_otherwise(score, model, repartition, standing, visits, pool, sql):
    assert repartition(spec_of(BUCKETS_3)) is None
    score(spec_of(BUCKETS_3), model)
    assert repartition(spec_of(BUCKETS_3)) is None
    # Killed after the exchange: its table is swept.
    sql("CREATE TABLE scores_onnx_repartition AS FROM scores LIMIT 0")
    assert repartition(spec_of(BUCKETS_3)) is None
    assert sql("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE '%repartition'") == [(0,)]


def test_rows_that_one_killed_after_its_exchange_left_are_not_taken_for_new_ones(
    score, model, repartition, standing, visits, pool, monkeypatch
):
    score(spec_of(BUCKETS_8), model)
    with monkeypatch.context() as killed:
        killed.setattr(type(pool), "discard", lambda *_: None)
        repartition(spec_of(BUCKETS_3))
    assert standing("scores_onnx_repartition") == (90, 90, 0)
    repartition(spec_of(BY_DAY))
    assert standing() == (90, 90, 0)


def test_two_at_once_empty_nothing(score, model, pool, sql, standing, visits):
    """The second one scores its last slices into a table beside, after the first one has exchanged and dropped it."""
    score(spec_of(BUCKETS_8), model)
    spec = spec_of(BUCKETS_3)
    first, second = (Repartition(ScoringPlan(spec, model, pool.source(spec)), pool, keep=False) for _ in range(2))
    keys = [piece.partition_key for piece in first.start().slices]
    assert [piece.partition_key for piece in second.start().slices] == keys
    score(side_of(spec), model, keys, run_id="first")
    first.exchange()
    score(side_of(spec), model, keys[2:], run_id="second")
    with pytest.raises(StagingError, match="lacks 2 of 3 partitions, 'bucket_0' for one.*Nothing was changed"):
        second.exchange()
    assert standing() == (90, 90, 0)
    assert sql("SELECT DISTINCT run_id FROM scores") == [("first",)]


def test_a_target_in_which_another_scoring_has_rows_is_refused(score, model, sql, repartition, standing, visits):
    """Which an earlier version let happen, where two scorings spelled one table in two ways."""
    score(spec_of(BUCKETS_8), model)
    sql(f"INSERT INTO {LOG_TABLE} SELECT * REPLACE ('other' AS scoring) FROM {LOG_TABLE} LIMIT 1")
    with pytest.raises(TargetError, match="main.scores is the target of scoring other"):
        repartition(spec_of(BUCKETS_3))
    assert standing() == (90, 90, 0)


def test_another_scoring_that_reads_the_same_source_is_left_alone(score, model, sql, repartition, visits):
    score(spec_of(BUCKETS_8), model)
    score(spec_of(BUCKETS_8, name="t", target="others"), model)
    before = sql(f"SELECT * FROM {LOG_TABLE} WHERE scoring = 't' ORDER BY ALL"), sql("SELECT * FROM others ORDER BY id")
    repartition(spec_of(BUCKETS_3))
    assert (
        sql(f"SELECT * FROM {LOG_TABLE} WHERE scoring = 't' ORDER BY ALL"),
        sql("SELECT * FROM others ORDER BY id"),
    ) == before


def test_the_table_beside_keeps_schema_layout_and_a_name_that_a_server_takes():
    spec = spec_of(BUCKETS_3, target={"table": f"ml.{'t' * 128}", "distribution": "round_robin"}, load_mode="append")
    side = side_of(spec)
    schema, name = side.target_table.split(".")
    assert (schema, len(name), side.target_spec.distribution) == ("ml", 128, "round_robin")
    assert (side.rescore, side.load_mode) == ("all", "replace")
