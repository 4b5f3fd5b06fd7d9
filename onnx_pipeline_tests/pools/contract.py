"""The tests of `test_contract.py`: what a load does in every pool, by every kind of rows."""

import datetime
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import AlreadyLoadedError, KeyColumnError, PoolError, StagingError, TargetError
from onnx_pipeline.pools import swap
from onnx_pipeline.pools.records import Loaded, LogRow, SliceLoad, Target
from onnx_pipeline.pools.rows import StoredFiles
from onnx_pipeline_tests.pools.conftest import STAGED, rows_of, slice_of, target_of
from onnx_pipeline_tests.pools.grounds import ROWS, Ground

MODES = ("replace", "append", "upsert")
each_kind = pytest.mark.parametrize("rows", ROWS)
each_mode = pytest.mark.parametrize("mode", MODES)


@each_kind
def test_replace_takes_rows_that_left_the_source_out_of_the_target(ground: Ground, rows: str) -> None:
    ground.load(ground.piece(rows, rows_of(0, 100, 1.0)))
    ground.load(ground.piece(rows, rows_of(0, 10, 1.0), "p2"))
    (loaded,) = ground.load(ground.piece(rows, rows_of(20, 30, 2.0), run_id="run-2"))
    assert (loaded.inserted, loaded.updated, loaded.deleted, loaded.present) == (30, 0, 100, 30)
    assert ground.standing() == [("p1", "run-2", 2.0, 30), ("p2", "run-1", 1.0, 10)]
    assert ground.logged() == [("p1", "run-2", 30), ("p2", "run-1", 10)]


@each_kind
def test_replacing_with_nothing_empties_the_slice_and_is_logged(ground: Ground, rows: str) -> None:
    ground.load(ground.piece(rows, rows_of(0, 100, 1.0)))
    (loaded,) = ground.load(ground.piece(rows, rows_of(0, 0, 1.0), run_id="run-2"))
    assert (loaded.inserted, loaded.deleted, loaded.present) == (0, 100, 0)
    assert ground.standing() == []
    assert ground.logged() == [("p1", "run-2", 0)]


@each_kind
def test_append_loads_a_slice_once(ground: Ground, rows: str) -> None:
    ground.load(ground.piece(rows, rows_of(0, 100, 1.0)), mode="append")
    with pytest.raises(AlreadyLoadedError, match="partition 'p1' stands in predictions already, and `load: append`"):
        ground.load(ground.piece(rows, rows_of(0, 100, 2.0), run_id="run-2"), mode="append")
    ground.load(ground.piece(rows, rows_of(0, 5, 3.0), "p2"), mode="append")
    assert ground.standing() == [("p1", "run-1", 1.0, 100), ("p2", "run-1", 3.0, 5)]
    assert ground.pool.scoring_log("scoring")["p1"].run_id == "run-1"


@each_kind
def test_upsert_updates_and_inserts_by_key(ground: Ground, rows: str) -> None:
    ground.load(ground.piece(rows, rows_of(0, 100, 1.0)), mode="upsert")
    (loaded,) = ground.load(ground.piece(rows, rows_of(90, 30, 2.0), run_id="run-2"), mode="upsert")
    assert (loaded.inserted, loaded.updated, loaded.deleted, loaded.present) == (20, 10, 0, 30)
    assert ground.standing() == [("p1", "run-1", 1.0, 90), ("p1", "run-2", 2.0, 30)]


@each_kind
@each_mode
def test_a_row_keeps_its_values_and_says_where_it_comes_from(ground: Ground, rows: str, mode: str) -> None:
    ground.load(ground.piece(rows, rows_of(1, 2, 0.5), "it's ü", "run-7"), mode=mode)
    found = ground.query("SELECT id, score, label, partition_key, model_sha256, run_id FROM predictions ORDER BY id")
    assert found == [(1, 0.5, "é", "it's ü", "ab" * 32, "run-7"), (2, 0.5, "éé", "it's ü", "ab" * 32, "run-7")]


@each_kind
@each_mode
@pytest.mark.parametrize(("ids", "found"), [([1, 1, 2], (0, 1)), ([1, None, 2], (1, 0))])
def test_a_key_that_is_null_or_not_unique_never_reaches_the_target(
    ground: Ground, rows: str, mode: str, ids: list[int | None], found: tuple[int, int]
) -> None:
    ground.load(ground.piece("staged", rows_of(0, 3, 1.0), "other"))
    faulty = pa.table({"id": ids, "score": [1.0] * 3, "label": ["a"] * 3}, schema=STAGED)
    told = []

    def verify(loaded: Loaded) -> None:
        told.append((loaded.null_keys, loaded.duplicate_keys))
        if loaded.null_keys or loaded.duplicate_keys:
            raise KeyColumnError("as a load of the pipeline does")

    # A database that enforces NOT NULL may say so first.
    with pytest.raises((KeyColumnError, PoolError)) as refused:
        ground.load(ground.piece(rows, faulty), mode=mode, verify=verify)
    assert told == [found] or "NOT NULL" in str(refused.value)
    assert ground.standing() == [("other", "run-1", 1.0, 3)]
    assert ground.logged() == [("other", "run-1", 3)]


@each_kind
@each_mode
def test_a_refused_load_changes_nothing_and_can_be_tried_again(ground: Ground, rows: str, mode: str) -> None:
    ground.load(ground.piece("staged", rows_of(0, 100, 1.0), "other"), mode=mode)
    before, log = ground.standing(), ground.logged()
    piece = ground.piece(rows, rows_of(0, 9, 2.0), run_id="run-2")
    seen: list[Loaded] = []

    def refuse(loaded: Loaded) -> None:
        seen.append(loaded)
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        ground.load(piece, mode=mode, verify=refuse)
    # It was told what the target would have been.
    assert seen[0].present == 9
    assert (ground.standing(), ground.logged()) == (before, log)
    (loaded,) = ground.load(piece, mode=mode)
    assert loaded.present == 9


@each_mode
@pytest.mark.parametrize(
    "names",
    [
        ("user", "current_timestamp", "current_user"),  # functions, without quotes
        ("two words", "per%cent? (1st)", "a:b;c {d}"),  # what a parameter cannot be called
    ],
)
def test_columns_may_have_any_name(ground: Ground, mode: str, names: tuple[str, str, str]) -> None:
    key, score, label = names
    staged = pa.schema([(key, pa.int64()), (score, pa.float32()), (label, pa.string())])
    target = target_of(staged, key=[key])
    for run_id, value in (("run-1", 0.5), ("run-2", 1.5))[: 1 if mode == "append" else 2]:
        rows = pa.table({key: [1, 2], score: [value, value], label: ["a", "é"]}, schema=staged)
        ground.load(slice_of(rows, "p1", run_id), mode=mode, target=target)
        listed = ", ".join(f'"{name}"' for name in names)
        found = ground.query(f'SELECT {listed}, run_id FROM predictions ORDER BY "{key}"')
        assert found == [(1, value, "a", run_id), (2, value, "é", run_id)]


def test_a_row_that_somebody_adds_to_the_slice_meanwhile_is_counted(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = swap._move

    def and_one_more(session: Any, table: sa.Table, target: Target, log: LogRow, mode: str, rows: Any) -> Any:
        moved = move(session, table, target, log, mode, rows)
        values = {"id": 99, "score": 0.0, "label": "", "partition_key": log.partition_key, "model_sha256": "?"}
        session.execute(sa.insert(table).values(**values, scored_at=datetime.datetime(2026, 1, 1), run_id="another"))
        return moved

    def verify(loaded: Loaded) -> None:
        raise ArithmeticError(f"{loaded.inserted} and {loaded.present}")

    monkeypatch.setattr(swap, "_move", and_one_more)
    with pytest.raises(ArithmeticError, match="^9 and 10$"):
        ground.load(ground.piece("staged", rows_of(0, 9, 1.0)), verify=verify)
    assert ground.standing() == []


def test_a_table_of_rows_is_taken_over(ground: Ground) -> None:
    piece = ground.piece("stored table", rows_of(0, 9, 2.0))
    assert "landed" in ground.tables()
    ground.load(piece)
    assert "landed" not in ground.tables()


@pytest.mark.parametrize("rows", [rows_of(0, 8, 1.0), rows_of(0, 10, 1.0), rows_of(1, 9, 1.0), rows_of(0, 9, 1.5)])
def test_a_table_that_was_touched_since_it_was_judged_is_refused(ground: Ground, rows: pa.Table) -> None:
    ground.load(ground.piece("staged", rows_of(0, 3, 7.0), run_id="run-0"))
    piece = ground.piece("stored table", rows_of(0, 9, 1.0))
    ground.store("landed", rows)
    with pytest.raises(StagingError, match="landed was touched since it was filled: .*Nothing was loaded; materialize"):
        ground.load(piece)
    assert ground.standing() == [("p1", "run-0", 7.0, 3)]


def test_a_table_that_is_gone_is_named(ground: Ground) -> None:
    piece = ground.piece("stored table", rows_of(0, 9, 1.0))
    ground.load(piece)
    with pytest.raises(StagingError, match="scoring, partition 'p1': the predictions stood in landed, which is gone"):
        ground.load(piece)
    assert ground.standing() == [("p1", "run-1", 1.0, 9)]


def test_files_that_do_not_hold_what_was_judged_are_refused(ground: Ground) -> None:
    piece = ground.piece("stored files", rows_of(0, 9, 1.0))
    assert isinstance(piece.rows, StoredFiles)
    short = SliceLoad(piece.log, StoredFiles(piece.rows.files[:1], 9))
    with pytest.raises(StagingError, match=r"9 predictions were stored and 4 lie in .*part-0.parquet"):
        ground.load(short)
    piece.rows.files[0].write_bytes(b"PAR1 no more")
    with pytest.raises(StagingError, match="stored predictions cannot be read"):
        ground.load(piece)
    piece.rows.files[0].unlink()
    with pytest.raises(StagingError, match="stored predictions cannot be read"):
        ground.load(piece)
    assert ground.standing() == []


def test_a_preview_shows_rows_of_one_partition(ground: Ground) -> None:
    ground.load(slice_of(rows_of(0, 9, 1.0), "p'1"), slice_of(rows_of(100, 9, 1.0), "p2"))
    shown = ground.pool.preview("predictions", {"partition_key": "p'1"}, 3)
    assert shown.num_rows == 3
    assert set(shown["partition_key"].to_pylist()) == {"p'1"}


def test_a_target_with_other_columns_is_refused_by_name(ground: Ground) -> None:
    ground.load(slice_of(rows_of(0, 1, 1.0)))
    other = target_of(pa.schema([("id", pa.int64()), ("score", pa.string())]))
    with pytest.raises(TargetError, match="score is float there and string here; label is there and not among"):
        ground.pool.ensure_target(other)


def test_a_source_of_rows_that_breaks_half_way_changes_nothing(ground: Ground) -> None:
    from dataclasses import replace

    from onnx_pipeline.pools.rows import StagedRows

    ground.load(slice_of(rows_of(0, 3, 1.0), "p1"))

    def broken() -> pa.RecordBatchReader:
        def batches():  # type: ignore[no-untyped-def]
            yield rows_of(0, 3, 2.0).to_batches()[0]
            raise OSError("the disk is gone")

        return pa.RecordBatchReader.from_batches(STAGED, batches())

    with pytest.raises((OSError, PoolError), match="the disk is gone"):
        ground.load(replace(slice_of(rows_of(0, 3, 2.0), "p1", "run-2"), rows=StagedRows(broken, keys_ascend=True)))
    assert ground.standing() == [("p1", "run-1", 1.0, 3)]
    assert ground.logged() == [("p1", "run-1", 3)]
