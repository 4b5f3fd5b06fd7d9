"""What an exchange of two tables does in every pool: rows and log of one take the place of the other's."""

from dataclasses import replace

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import StagingError, TargetError
from onnx_pipeline.pools.exchange import Exchange, Exchanged
from onnx_pipeline.pools.records import SliceLoad
from onnx_pipeline_tests.pools.conftest import rows_of, slice_of, target_of
from onnx_pipeline_tests.pools.grounds import Ground

SIDE, BACKUP = "predictions_onnx_repartition", "predictions_before_repartition"
OLD = [("a", "run-1", 1.0, 30), ("b", "run-1", 1.0, 20)]
NEW = [("bucket_0", "run-2", 2.0, 25), ("bucket_1", "run-2", 2.0, 15)]
OLD_LOG = [("other", "a", "run-0", 30), ("scoring", "a", "run-1", 30), ("scoring", "b", "run-1", 20)]
NEW_LOG = [("other", "a", "run-0", 30), ("scoring", "bucket_0", "run-2", 25), ("scoring", "bucket_1", "run-2", 15)]


def placed(
    ground: Ground, rows: pa.Table, partition: str, run_id: str, table: str, scoring: str = "scoring"
) -> SliceLoad:
    piece = slice_of(rows, partition, run_id)
    place = ground.pool.standing(table).name
    return replace(piece, log=replace(piece.log, scoring=scoring, target=place, partitions=f'{{"by": "{run_id}"}}'))


def prepared(ground: Ground) -> Exchange:
    """Old rows by two keys in the target, new ones by two buckets beside it, and another scoring's in a third table."""
    side, others = target_of(table=SIDE), target_of(table="others")
    for target in (target_of(), side, others):
        ground.pool.ensure_target(target)
    ground.load(placed(ground, rows_of(0, 30, 9.0), "a", "run-0", "others", "other"), target=others)
    ground.load(
        placed(ground, rows_of(0, 30, 1.0), "a", "run-1", "predictions"),
        placed(ground, rows_of(20, 20, 1.0), "b", "run-1", "predictions"),
    )
    ground.load(
        placed(ground, rows_of(0, 25, 2.0), "bucket_0", "run-2", SIDE),
        placed(ground, rows_of(25, 15, 2.0), "bucket_1", "run-2", SIDE),
        target=side,
    )
    place, side_place = (ground.pool.standing(name).name for name in ("predictions", SIDE))
    return Exchange("scoring", target_of(), side, place, side_place)


def log_of(ground: Ground) -> list[tuple[object, ...]]:
    return ground.query(
        'SELECT scoring, partition_key, run_id, "rows" FROM onnx_scoring_log '
        f"WHERE target NOT LIKE '%{SIDE}' ORDER BY scoring, partition_key"
    )


def assert_old_or_new(ground: Ground, what: str = "") -> bool:
    """Rows and log are both the old ones or both the new ones; whether they are the new ones."""
    now = ground.standing()
    assert now in (OLD, NEW), what
    assert log_of(ground) == (NEW_LOG if now == NEW else OLD_LOG), what
    return now == NEW


def test_rows_and_log_of_one_table_take_the_place_of_the_others(ground: Ground) -> None:
    work = prepared(ground)
    assert not assert_old_or_new(ground)
    done = ground.pool.exchange(work)
    assert done == Exchanged(50, 40)
    assert assert_old_or_new(ground)
    assert ground.query(f"SELECT COUNT(*) FROM onnx_scoring_log WHERE target LIKE '%{SIDE}'") == [(0,)]
    assert ground.query("SELECT COUNT(*) FROM others") == [(30,)]
    places = ground.query("SELECT DISTINCT target FROM onnx_scoring_log WHERE scoring = 'scoring'")
    assert places == [(work.place,)]


def test_a_value_is_the_same_after_the_exchange(ground: Ground) -> None:
    work = prepared(ground)
    columns = ", ".join(target_of().schema.names)
    before = ground.query(f"SELECT {columns} FROM {SIDE} ORDER BY id")
    ground.pool.exchange(work)
    assert ground.query(f"SELECT {columns} FROM predictions ORDER BY id") == before
    assert len(before) == 40


def test_a_backup_is_given_what_stood(ground: Ground) -> None:
    work = replace(prepared(ground), backup=BACKUP)
    ground.pool.ensure_target(target_of(table=BACKUP))
    before = ground.query("SELECT id, score, partition_key FROM predictions ORDER BY id, partition_key")
    ground.pool.exchange(work)
    assert ground.query(f"SELECT id, score, partition_key FROM {BACKUP} ORDER BY id, partition_key") == before
    assert assert_old_or_new(ground)


def test_the_table_stays_the_same_object(ground: Ground) -> None:
    """A view over it goes on, as grants and indexes do."""
    work = prepared(ground)
    prefix = "dbo." if ground.pool.standing("predictions").name.startswith("dbo.") else ""
    ground.query(f"CREATE VIEW {prefix}seen AS SELECT id FROM {prefix}predictions")
    ground.pool.exchange(work)
    assert ground.query(f"SELECT COUNT(*) FROM {prefix}seen") == [(40,)]
    ground.query(f"DROP VIEW {prefix}seen")


def test_the_next_load_replaces_a_slice_of_the_new_way(ground: Ground) -> None:
    work = prepared(ground)
    ground.pool.exchange(work)
    piece = placed(ground, rows_of(0, 10, 3.0), "bucket_0", "run-2", "predictions")
    (loaded,) = ground.load(replace(piece, log=replace(piece.log, run_id="run-3")))
    assert (loaded.deleted, loaded.present) == (25, 10)
    assert ground.standing() == [("bucket_0", "run-3", 3.0, 10), ("bucket_1", "run-2", 2.0, 15)]


def test_rows_of_a_log_that_names_no_target_are_claimed_for_the_one_that_there_was(ground: Ground) -> None:
    ground.load(slice_of(rows_of(0, 5, 1.0), "a"))
    assert ground.query("SELECT target FROM onnx_scoring_log") == [(None,)]
    place = ground.pool.standing("predictions").name
    ground.pool.claim("another", place)
    assert ground.query("SELECT target FROM onnx_scoring_log") == [(None,)]
    ground.pool.claim("scoring", place)
    assert ground.query("SELECT target FROM onnx_scoring_log") == [(place,)]


def test_an_exchange_into_a_table_that_holds_more_than_was_scored_changes_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where something loads at the same moment: here the DELETE leaves rows."""
    import sqlalchemy as sa

    from onnx_pipeline.pools import exchange

    work = prepared(ground)
    whole = sa.delete

    def partial(table):  # type: ignore[no-untyped-def]
        statement = whole(table)
        return statement.where(table.c.partition_key != "b") if table.name == "predictions" else statement

    monkeypatch.setattr(exchange.sa, "delete", partial)
    with pytest.raises(StagingError, match="40 rows were scored into .*, and 60 would stand in predictions"):
        ground.pool.exchange(work)
    monkeypatch.undo()
    assert not assert_old_or_new(ground)
    assert ground.query(f"SELECT COUNT(*) FROM {SIDE}") == [(40,)]


def test_a_side_table_that_is_not_what_its_log_says_is_not_exchanged(ground: Ground) -> None:
    """Rows that one left which was killed after its exchange would stand there a second time."""
    work = prepared(ground)
    ground.query(f"INSERT INTO {SIDE} SELECT * FROM predictions WHERE partition_key = 'b'")
    with pytest.raises(StagingError, match=rf"60 rows stand in {SIDE}, and the log says 40.*Nothing was changed"):
        ground.pool.exchange(work)
    assert not assert_old_or_new(ground)
    ground.query(f"DELETE FROM {SIDE} WHERE partition_key <> 'bucket_0'")
    with pytest.raises(StagingError, match=rf"25 rows stand in {SIDE}, and the log says 40"):
        ground.pool.exchange(work)
    assert not assert_old_or_new(ground)
    # An upsert keeps one row of a key, whichever slice it was in.
    assert ground.pool.exchange(replace(work, upserted=True)) == Exchanged(50, 25)


def test_a_side_table_that_lacks_a_slice_is_not_exchanged(ground: Ground) -> None:
    """As where another repartition exchanged and dropped it, and this one scored the rest into a new one."""
    work = replace(prepared(ground), slices=["bucket_0", "bucket_1", "bucket_2"])
    with pytest.raises(StagingError, match=f"{SIDE} lacks 1 of 3 partitions, 'bucket_2' for one.*Nothing was changed"):
        ground.pool.exchange(work)
    assert not assert_old_or_new(ground)
    assert ground.pool.exchange(replace(work, slices=["bucket_0", "bucket_1"])) == Exchanged(50, 40)


def test_a_target_in_which_another_scoring_has_rows_is_not_emptied(ground: Ground) -> None:
    work = prepared(ground)
    ground.query("UPDATE onnx_scoring_log SET target = (SELECT MAX(target) FROM onnx_scoring_log WHERE run_id = 'run-1') WHERE scoring = 'other'")  # fmt: skip
    with pytest.raises(TargetError, match="is the target of scoring other, whose rows this one would delete"):
        ground.pool.exchange(work)
    assert not assert_old_or_new(ground)
