"""Partitions without rows, as a backfill of a long history meets them: logged, and cheap."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from onnx_pipeline.base.errors import AlreadyLoadedError
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.duckdb import load as duckdb_load
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.pending import Reason, pending
from onnx_pipeline.spec.scoring import LoadMode, ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, RunSql, Score

FILLED = ("2013-01-06", "2014-06-01")
"""Weeks that have rows, among 150."""


@pytest.fixture
def weeks(sql: RunSql) -> Callable[..., tuple[ScoringSpec, Sequence[str]]]:
    """150 weeks of history, of which two have rows."""
    sql("CREATE TABLE visits (id BIGINT, day DATE, a FLOAT)")
    for place, week in enumerate(FILLED):
        sql(f"INSERT INTO visits SELECT {place} * 100 + i, DATE '{week}' + (i % 7)::INTEGER, i FROM range(20) AS r(i)")

    def made(mode: LoadMode = "replace") -> tuple[ScoringSpec, Sequence[str]]:
        until = datetime.date(2013, 1, 6) + datetime.timedelta(weeks=150)
        spec = ScoringSpec(
            name="s", onnx="m", source="visits", key=["id"], target="scores", load_mode=mode,
            partitions={"column": "day", "every": "week", "start": "2013-01-06", "until": until.isoformat()},
        )  # fmt: skip
        keys = partitioning(spec).keys()
        assert len(keys) == 150
        return spec, keys

    return made


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The partitions that a transaction of their own was opened for."""
    found: list[str] = []
    real = duckdb_load.load_slice

    def noted(connection: Any, table: Any, target: Any, piece: Any, *more: Any) -> Any:
        found.append(piece.log.partition_key)
        return real(connection, table, target, piece, *more)

    monkeypatch.setattr(duckdb_load, "load_slice", noted)
    return found


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_weeks_without_rows_are_logged_many_at_once(
    weeks: Any, alone: list[str], sql: RunSql, score: Score, pool: DuckDBPool, weighted_sum: MakeModel, mode: LoadMode
) -> None:
    spec, keys = weeks(mode)
    loaded = score(spec, weighted_sum({"a": 2.0}))
    assert alone == list(FILLED)
    assert sorted(piece.loaded.partition_key for piece in loaded) == sorted(keys)
    assert all(piece.loaded.partition_key == piece.log.partition_key for piece in loaded)
    log = pool.scoring_log("s")
    assert {key: row.rows for key, row in log.items()} == {key: 20 if key in FILLED else 0 for key in keys}
    assert sql("SELECT count(*), count(DISTINCT partition_key) FROM onnx_scoring_log") == [(150, 150)]
    assert sql("SELECT count(*), sum(score) FROM scores") == [(40, 2.0 * 2 * sum(range(20)))]
    assert pending(spec, pool, partitioning(spec), None) == []
    # One of them is a week like any other as soon as it has rows.
    if mode != "append":
        sql("INSERT INTO visits VALUES (999, DATE '2013-03-04', 1)")
        (found,) = pending(spec, pool, partitioning(spec), None)
        assert (found.partition_key, found.reason, found.rows) == ("2013-03-03", Reason.SOURCE_CHANGED, 1)


def test_rows_of_a_week_that_lost_them_leave_the_target(
    weeks: Any, alone: list[str], sql: RunSql, score: Score, weighted_sum: MakeModel
) -> None:
    spec, _ = weeks()
    model = weighted_sum({"a": 2.0})
    score(spec, model)
    sql("DELETE FROM visits WHERE id >= 100")
    alone.clear()
    loaded = {piece.loaded.partition_key: piece.loaded for piece in score(spec, model, run_id="run-2")}
    assert set(alone) == set(FILLED)
    assert (loaded[FILLED[1]].deleted, loaded[FILLED[1]].inserted) == (20, 0)
    assert sql("SELECT DISTINCT partition_key FROM scores") == [(FILLED[0],)]
    assert sql("SELECT run_id, count(*) FROM onnx_scoring_log GROUP BY 1") == [("run-2", 150)]


def test_an_appended_week_without_rows_is_refused_the_second_time_and_the_log_stays(
    weeks: Any, sql: RunSql, score: Score, weighted_sum: MakeModel
) -> None:
    spec, keys = weeks("append")
    model = weighted_sum({"a": 2.0})
    score(spec, model, keys[10:13])
    with pytest.raises(AlreadyLoadedError, match="partition '2013-03-24' stands in scores already"):
        score(spec, model, keys[11:20], run_id="run-2")
    assert sql("SELECT run_id, count(*) FROM onnx_scoring_log GROUP BY 1") == [("run-1", 3)]
