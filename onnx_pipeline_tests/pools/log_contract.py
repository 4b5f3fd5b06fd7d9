"""The tests of `test_scoring_log.py`: what the log says of targets, their owners and their partitions, in every pool."""

import datetime
from dataclasses import replace

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import AlreadyLoadedError, TargetError
from onnx_pipeline.pools.records import Fingerprint, LogRow, SliceLoad, Target
from onnx_pipeline_tests.pools.conftest import rows_of, slice_of, target_of
from onnx_pipeline_tests.pools.grounds import Ground, ImitatedGround

BY_DAY, BY_MONTH = '{"by": "time", "every": "day"}', '{"by": "time", "every": "month"}'
BEFORE = {
    "duckdb": "CREATE TABLE onnx_scoring_log (scoring VARCHAR NOT NULL, partition_key VARCHAR NOT NULL, "
    "model_sha256 VARCHAR NOT NULL, rows BIGINT NOT NULL, source_rows BIGINT NOT NULL, source_changed VARCHAR, "
    "seconds DOUBLE NOT NULL, run_id VARCHAR NOT NULL, scored_at TIMESTAMP NOT NULL, statistics VARCHAR NOT NULL)",
    "tsql": "CREATE TABLE onnx_scoring_log (scoring NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL, "
    "partition_key NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL, model_sha256 NVARCHAR(64) NOT NULL, "
    "[rows] BIGINT NOT NULL, source_rows BIGINT NOT NULL, source_changed NVARCHAR(450) NULL, seconds FLOAT NOT NULL, "
    "run_id NVARCHAR(450) NOT NULL, scored_at DATETIME2(6) NOT NULL, [statistics] NVARCHAR(MAX) NOT NULL)",
}
"""What the version before made."""
ROW_BEFORE = (
    "INSERT INTO onnx_scoring_log VALUES ('scoring', 'p1', 'abab', 3, 3, NULL, 1.0, 'run-0', '2026-01-01', '{}')"
)


def piece_of(
    ground: Ground, rows: pa.Table, partition: str = "p1", run_id: str = "run-1", *, scoring: str = "scoring",
    table: str = "predictions", partitions: str | None = BY_DAY, settings: str | None = "1 key=ab",
) -> SliceLoad:  # fmt: skip
    """A slice as a load of the pipeline gives it: its log row says target, settings and way."""
    piece = slice_of(rows, partition, run_id)
    name = ground.pool.standing(table).name
    log = replace(piece.log, scoring=scoring, target=name, settings=settings, partitions=partitions)
    return replace(piece, log=log)


def load(ground: Ground, *pieces: SliceLoad, mode: str = "replace", target: Target | None = None) -> None:
    target = target or target_of()
    ground.pool.ensure_target(target, pieces[0].log.scoring)
    list(ground.pool.load(target, iter(pieces), mode, lambda _: None))


def prepare_log_of_before(ground: Ground) -> None:
    """The log as the version before left it, with one slice."""
    if ground.pool.kind == "duckdb":
        ground.query(BEFORE["duckdb"])
        ground.query(ROW_BEFORE)
    else:
        with ground.pool.session("preparing") as session:  # type: ignore[attr-defined]
            session.execute(BEFORE["tsql"])
            session.execute(ROW_BEFORE)


def everything(ground: Ground) -> list[tuple[object, ...]]:
    return ground.query(
        "SELECT scoring, partition_key, run_id, target, settings, partitions FROM onnx_scoring_log ORDER BY 1, 2, 4"
    )


def test_a_row_of_the_log_comes_back_as_it_was_written(ground: Ground) -> None:
    piece = piece_of(ground, rows_of(0, 3, 1.0))
    load(ground, piece)
    (found,) = ground.pool.scored("scoring", "predictions").rows.values()
    assert found.seconds >= 1.0
    assert replace(found, seconds=1.0) == piece.log
    assert ground.pool.scoring_log("scoring") == {"p1": found}


def test_a_log_of_the_version_before_is_read_without_its_columns_and_gets_them_with_a_load(ground: Ground) -> None:
    prepare_log_of_before(ground)
    scored = ground.pool.scored("scoring", "predictions")
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    assert scored.rows == {"p1": LogRow("scoring", "p1", "abab", 3, Fingerprint(3), 1.0, "run-0", moment, "{}")}
    assert (scored.elsewhere, scored.owner, scored.signatures) == ({}, None, {})
    assert list(ground.pool.scoring_log("scoring")) == ["p1"]
    # Its table stands, so what it says holds; the next load of a slice fills its row in.
    ground.pool.ensure_target(target_of())
    load(ground, piece_of(ground, rows_of(0, 3, 1.0), "p2"))
    name = ground.pool.standing("predictions").name
    assert everything(ground) == [
        ("scoring", "p1", "run-0", None, None, None),
        ("scoring", "p2", "run-1", name, "1 key=ab", BY_DAY),
    ]
    load(ground, piece_of(ground, rows_of(0, 3, 1.0), run_id="run-2"))
    assert everything(ground)[0] == ("scoring", "p1", "run-2", name, "1 key=ab", BY_DAY)


def test_a_name_is_resolved_as_the_pool_does(ground: Ground) -> None:
    schema = ground.pool.default_schema
    assert ground.pool.standing("predictions").name == f"{schema}.predictions"
    assert not ground.pool.standing("predictions").exists
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    for spelling in ("predictions", f"{schema}.predictions"):
        found = ground.pool.standing(spelling)
        assert (found.name, found.exists) == (f"{schema}.predictions", True)


def test_another_scoring_that_comes_to_the_table_by_another_spelling_is_refused(ground: Ground) -> None:
    schema = ground.pool.default_schema
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    for partition in ("p1", "p2"):
        theirs = piece_of(
            ground, rows_of(0, 9, 7.0), partition, "run-2", scoring="theirs", table=f"{schema}.predictions"
        )
        with pytest.raises(TargetError, match=f"theirs: table {schema}.predictions is the target of scoring scoring"):
            load(ground, theirs, target=target_of(table=f"{schema}.predictions"))
    assert ground.standing() == [("p1", "run-1", 1.0, 3)]
    assert [row[0] for row in everything(ground)] == ["scoring"]
    assert ground.pool.scored("theirs", "predictions").owner == "scoring"
    assert ground.pool.scored("scoring", "predictions").owner is None


def test_a_retired_scoring_releases_the_table_by_the_statement_that_the_message_gives(ground: Ground) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    theirs = piece_of(ground, rows_of(0, 9, 7.0), "p2", "run-2", scoring="theirs")
    with pytest.raises(TargetError) as refused:
        load(ground, theirs)
    run(ground, str(refused.value).rpartition("release the table: ")[2])
    load(ground, theirs)
    assert [row[0] for row in everything(ground)] == ["theirs"]


def test_a_renamed_scoring_takes_its_rows_over_by_the_statement_that_the_message_gives(ground: Ground) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    renamed = piece_of(ground, rows_of(0, 2, 7.0), run_id="run-2", scoring="renamed")
    with pytest.raises(TargetError) as refused:
        load(ground, renamed)
    run(ground, str(refused.value).partition("the rows of the log: ")[2].partition(". Where")[0])
    assert set(ground.pool.scored("renamed", "predictions").rows) == {"p1"}
    load(ground, renamed)
    assert ground.standing() == [("p1", "run-2", 7.0, 2)]


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_rows_that_were_cut_in_another_way_are_refused_in_every_mode(ground: Ground, mode: str) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)), mode=mode)
    other = piece_of(ground, rows_of(0, 9, 7.0), "2026-01", "run-2", partitions=BY_MONTH)
    with pytest.raises(
        TargetError,
        match=r"cut by time \(every day\).* now cut by time \(every month\).*onnx-pipeline repartition scoring",
    ):
        load(ground, other, mode=mode)
    assert ground.standing() == [("p1", "run-1", 1.0, 3)]
    # A row that does not say how is an earlier version's.
    run(ground, "UPDATE onnx_scoring_log SET partitions = NULL")
    load(ground, other, mode=mode)


def test_a_slice_is_appended_once_to_each_target(ground: Ground) -> None:
    for table in ("predictions", "others"):
        piece = piece_of(ground, rows_of(0, 3, 1.0), table=table)
        load(ground, piece, mode="append", target=target_of(table=table))
        with pytest.raises(AlreadyLoadedError, match="stands in"):
            load(ground, piece, mode="append", target=target_of(table=table))
    schema = ground.pool.default_schema
    assert [row[3] for row in everything(ground)] == [f"{schema}.others", f"{schema}.predictions"]
    here = ground.pool.scored("scoring", "predictions")
    assert (list(here.rows), here.elsewhere) == (["p1"], {f"{schema}.others": 1})
    assert here.rows["p1"].target == f"{schema}.predictions"


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_target_that_was_dropped_takes_its_log_with_it_when_it_is_made_again(ground: Ground, mode: str) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0), "p1"), piece_of(ground, rows_of(9, 3, 1.0), "p2"), mode=mode)
    load(ground, piece_of(ground, rows_of(0, 3, 1.0), "p1", table="others"), target=target_of(table="others"))
    run(ground, "DROP TABLE predictions")
    scored = ground.pool.scored("scoring", "predictions")
    assert (scored.target.exists, sorted(scored.rows)) == (False, ["p1", "p2"])
    load(ground, piece_of(ground, rows_of(0, 3, 2.0), "p2", "run-2"), mode=mode)
    assert ground.standing() == [("p2", "run-2", 2.0, 3)]
    scored = ground.pool.scored("scoring", "predictions")
    assert (scored.target.exists, list(scored.rows)) == (True, ["p2"])
    assert list(scored.elsewhere.values()) == [1]


def test_changed_outputs_are_told_with_the_statements_that_alter_the_table(ground: Ground) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    staged = pa.schema([("id", pa.int64()), ("score", pa.float32()), ("the risk", pa.float64())])
    target = target_of(staged)
    with pytest.raises(TargetError, match="the risk is missing; label is there and not among the predictions") as told:
        ground.pool.ensure_target(target, "scoring")
    assert "target: predictions_2" in str(told.value)
    statements = str(told.value).partition("To keep it, run ")[2].partition(", which loses")[0].split("; ")
    assert len(statements) == 2
    if isinstance(ground, ImitatedGround):
        return  # it passes over ALTER TABLE
    for statement in statements:
        run(ground, statement)
    assert ground.pool.ensure_target(target, "scoring") == ground.pool.standing("predictions").name


def run(ground: Ground, statement: str) -> None:
    if ground.pool.kind == "duckdb":
        ground.query(statement)
        return
    with ground.pool.session("altering") as session:  # type: ignore[attr-defined]
        session.execute(statement)


def test_a_changed_key_asks_for_another_table(ground: Ground) -> None:
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    staged = pa.schema([("id", pa.int64()), ("ward", pa.string()), ("score", pa.float32()), ("label", pa.string())])
    with pytest.raises(TargetError, match="ward is missing.*another key.*name another `target` .target: predictions_2"):
        ground.pool.ensure_target(target_of(staged, key=("id", "ward")), "scoring")
    assert ground.standing() == [("p1", "run-1", 1.0, 3)]


def test_signatures_of_the_models_that_made_the_slices_come_with_the_log(ground: Ground) -> None:
    ground.pool.register_model("scoring", "ab" * 32, b"as it came", '{"inputs": []}')
    ground.pool.register_model("scoring", "ab" * 32, b"normal", '{"inputs": [], "feature_names": null}', "normalised")
    ground.pool.register_model("scoring", "cd" * 32, b"another", "{}")
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    found = ground.pool.scored("scoring", "predictions").signatures
    assert found == {"ab" * 32: '{"inputs": [], "feature_names": null}'}
