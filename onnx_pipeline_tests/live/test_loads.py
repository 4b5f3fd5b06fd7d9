"""The load modes, what each refuses, and what a load leaves behind; plain queries are the truth."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import AlreadyLoadedError, KeyColumnError, PoolError, TargetError
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.conftest import DRIVERS, OpenPool
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.conftest import rows_of, slice_of, target_of

Fresh = Callable[[str], str]


@pytest.fixture
def pool(request: pytest.FixtureRequest, open_with: OpenPool) -> MssqlPool:
    return open_with(getattr(request, "param", "mssqlpython"))


each_driver = pytest.mark.parametrize("pool", ["mssqlpython", "pyodbc"], indirect=True)
MODES = ("replace", "append", "upsert")


def spec_of(table: str, mode: str, **more: Any) -> ScoringSpec:
    partitions = {"column": "ward", "values": ["east", "west"]}
    return ScoringSpec(
        name=table, onnx="m", source=table, key=["id"], target=f"{table}_scored", load_mode=mode, partitions=partitions,
        **more,
    )  # fmt: skip


@pytest.fixture
def visits(server: Server, fresh: Fresh) -> str:
    """300 visits of two wards."""
    table = fresh("visits")
    server.execute(f"CREATE TABLE {table} (id BIGINT NOT NULL, ward NVARCHAR(10) NOT NULL, a REAL NULL)")
    server.insert(table, ["id", "ward", "a"], [(i, "east" if i % 3 else "west", i / 4) for i in range(300)])
    return table


def standing(server: Server, table: str) -> dict[int, tuple[str, float, str]]:
    found = server.rows(f"SELECT id, partition_key, score, run_id FROM {table}_scored")
    assert len({row[0] for row in found}) == len(found), "a row stands there twice"
    return {row[0]: row[1:] for row in found}


def source(server: Server, table: str, weight: float, run: str) -> dict[int, tuple[str, float, str]]:
    found = server.rows(f"SELECT id, ward, a FROM {table}")
    return {row[0]: (row[1], row[2] * weight, run) for row in found}


@pytest.mark.parametrize("pool", DRIVERS, indirect=True)
@pytest.mark.parametrize("mode", MODES)
def test_a_load_puts_every_row_into_the_target_with_where_it_comes_from(
    server: Server, pool: MssqlPool, visits: str, weighted_sum: MakeModel, score: Score, mode: str
) -> None:
    model = weighted_sum({"a": 4.0})
    loaded = score(spec_of(visits, mode), model)
    assert [(piece.loaded.partition_key, piece.loaded.inserted, piece.loaded.present) for piece in loaded] == [
        ("east", 200, 200), ("west", 100, 100),
    ]  # fmt: skip
    assert standing(server, visits) == source(server, visits, 4.0, "run-1")
    logged = server.rows(
        "SELECT partition_key, model_sha256, [rows], source_rows, run_id FROM onnx_scoring_log WHERE scoring = ? ORDER BY 1",
        [visits],
    )
    assert logged == [("east", model.sha256, 200, 200, "run-1"), ("west", model.sha256, 100, 100, "run-1")]
    told = server.rows(
        f"SELECT DISTINCT t.model_sha256, l.scored_at FROM {visits}_scored AS t JOIN onnx_scoring_log AS l "
        "ON l.scoring = ? AND l.partition_key = t.partition_key AND l.scored_at = t.scored_at",
        [visits],
    )
    assert len(told) == 2
    log = pool.scoring_log(visits, ["west"])["west"]
    assert (log.rows, log.fingerprint.rows, log.model_sha256, log.run_id) == (100, 100, model.sha256, "run-1")
    assert log.scored_at.replace(tzinfo=None) in [row[1] for row in told]
    assert server.staging_tables() == []


@each_driver
def test_replace_exchanges_the_slice_and_rows_that_left_the_source_leave_the_target(
    server: Server, pool: MssqlPool, visits: str, weighted_sum: MakeModel, score: Score
) -> None:
    spec = spec_of(visits, "replace")
    score(spec, weighted_sum({"a": 4.0}))
    server.execute(f"DELETE FROM {visits} WHERE id < 10")
    server.execute(f"UPDATE {visits} SET ward = 'west' WHERE id BETWEEN 100 AND 110")
    loaded = score(spec, weighted_sum({"a": 2.0}), run_id="run-2")
    assert [piece.loaded.deleted for piece in loaded] == [200, 100]
    assert standing(server, visits) == source(server, visits, 2.0, "run-2")
    # One partition alone leaves the others as they are.
    score(spec, weighted_sum({"a": 8.0}), ["west"], run_id="run-3")
    west = {i: row for i, row in source(server, visits, 8.0, "run-3").items() if row[0] == "west"}
    assert standing(server, visits) == source(server, visits, 2.0, "run-2") | west


@each_driver
def test_append_loads_a_slice_once(
    server: Server, pool: MssqlPool, visits: str, weighted_sum: MakeModel, score: Score
) -> None:
    spec = spec_of(visits, "append")
    score(spec, weighted_sum({"a": 4.0}), ["east"])
    with pytest.raises(AlreadyLoadedError, match="partition 'east' stands in"):
        score(spec, weighted_sum({"a": 2.0}), ["east"], run_id="run-2")
    score(spec, weighted_sum({"a": 4.0}), ["west"])
    assert standing(server, visits) == source(server, visits, 4.0, "run-1")
    assert server.staging_tables() == []


@each_driver
def test_upsert_updates_and_inserts_by_key_and_keeps_rows_that_left_the_source(
    server: Server, pool: MssqlPool, visits: str, weighted_sum: MakeModel, score: Score
) -> None:
    spec = spec_of(visits, "upsert")
    score(spec, weighted_sum({"a": 4.0}))
    before = standing(server, visits)
    server.execute(f"DELETE FROM {visits} WHERE id < 10")
    server.execute(f"UPDATE {visits} SET ward = 'west' WHERE id BETWEEN 100 AND 110")
    server.insert(visits, ["id", "ward", "a"], [(1000, "east", 1.0), (1001, "west", 2.0)])
    loaded = score(spec, weighted_sum({"a": 2.0}), run_id="run-2")
    assert sum(piece.loaded.inserted for piece in loaded) == 2
    assert sum(piece.loaded.updated for piece in loaded) == 290
    left = {i: row for i, row in before.items() if i < 10}
    assert standing(server, visits) == left | source(server, visits, 2.0, "run-2")


@each_driver
@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_is_not_unique_loads_nothing(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score, mode: str
) -> None:
    table = fresh("doubled")
    server.execute(f"CREATE TABLE {table} (id INT NULL, ward NVARCHAR(10) NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["id", "ward", "a"], [(1, "east", 1.0), (2, "east", 2.0)])
    spec = spec_of(table, mode)
    score(spec, weighted_sum({"a": 1.0}), ["east"])
    server.execute(f"DELETE FROM onnx_scoring_log WHERE scoring = '{table}'")
    server.execute(f"INSERT INTO {table} VALUES (1, 'east', 3), (1, 'east', 4), (2, 'east', 5)")
    with pytest.raises(KeyColumnError, match="2 of its values occur more than once"):
        score(spec, weighted_sum({"a": 1.0}), ["east"], run_id="run-2")
    assert standing(server, table) == {1: ("east", 1.0, "run-1"), 2: ("east", 2.0, "run-1")}
    assert server.staging_tables() == []
    assert server.rows("SELECT 1 FROM onnx_scoring_log WHERE scoring = ?", [table]) == []


@each_driver
def test_staged_keys_that_are_null_load_nothing(server: Server, pool: MssqlPool, fresh: Fresh) -> None:
    target = target_of(table=fresh("nulls"))
    pool.ensure_target(target)
    rows = rows_of(0, 5, 1.0).set_column(0, "id", pa.array([0, None, None, 3, 3], pa.int64()))
    found: list[Any] = []
    with pytest.raises(KeyColumnError):
        list(pool.load(target, [slice_of(rows, target.table)], "replace", found.append))
    # NULLs are a group of two, and 3 another.
    assert [(loaded.null_keys, loaded.duplicate_keys) for loaded in found] == [(2, 2)]
    assert server.scalar(f"SELECT COUNT(*) FROM {target.table}") == 0


@each_driver
def test_a_load_that_its_check_refuses_leaves_target_and_log_as_they_were(
    server: Server, pool: MssqlPool, fresh: Fresh
) -> None:
    name = fresh("checked")
    target = target_of(table=name)
    pool.ensure_target(target)

    def refuse(loaded: Any) -> None:
        assert (loaded.inserted, loaded.present) == (50, 50)
        raise KeyColumnError("no")

    list(pool.load(target, [slice_of(rows_of(0, 100, 1.0), name)], "replace", lambda loaded: None))
    for mode in ("replace", "upsert"):
        with pytest.raises(KeyColumnError, match="no"):
            list(pool.load(target, [slice_of(rows_of(500, 50, 2.0), name, "run-2")], mode, refuse))
    assert server.rows(f"SELECT run_id, COUNT(*), SUM(score) FROM {name} GROUP BY run_id") == [("run-1", 100, 100.0)]
    assert server.rows("SELECT run_id, [rows] FROM onnx_scoring_log WHERE partition_key = ?", [name]) == [
        ("run-1", 100)
    ]
    assert server.staging_tables() == []


@each_driver
def test_an_empty_slice_is_loaded_and_logged(server: Server, pool: MssqlPool, fresh: Fresh) -> None:
    name = fresh("empty")
    target = target_of(table=name)
    pool.ensure_target(target)
    list(pool.load(target, [slice_of(rows_of(0, 10, 1.0), name)], "replace", lambda loaded: None))
    (loaded,) = pool.load(target, [slice_of(rows_of(0, 0, 1.0), name, "run-2")], "replace", lambda loaded: None)
    assert (loaded.deleted, loaded.inserted, loaded.present) == (10, 0, 0)
    assert server.scalar(f"SELECT COUNT(*) FROM {name}") == 0
    assert server.rows("SELECT run_id, [rows] FROM onnx_scoring_log WHERE partition_key = ?", [name]) == [("run-2", 0)]


def test_partition_keys_that_differ_in_case_or_trailing_accents_alone_are_different(
    server: Server, pool: MssqlPool, fresh: Fresh
) -> None:
    name = fresh("cased")
    target = target_of(table=name)
    pool.ensure_target(target)
    keys = ["east", "East", "eást", "東"]
    pieces = [slice_of(rows_of(100 * index, 5, 1.0), key) for index, key in enumerate(keys)]
    list(pool.load(target, pieces, "replace", lambda loaded: None))
    list(pool.load(target, pieces[:1], "replace", lambda loaded: None))
    found = server.rows(f"SELECT partition_key, COUNT(*) FROM {name} GROUP BY partition_key")
    assert dict(found) == dict.fromkeys(keys, 5)
    assert set(pool.scoring_log("scoring", keys)) == set(keys)


@each_driver
def test_what_did_not_arrive_as_it_was_sent_is_refused(
    server: Server, pool: MssqlPool, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fresh("tampered")
    target = target_of(table=name)
    pool.ensure_target(target)
    driver = type(pool._rows_driver)
    original = driver.copy

    def tampering(change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        def copy(self: Any, connection: Any, table: str, names: Any, batches: Any) -> None:
            watched = type(batches)(batches.schema, (change(batch) for batch in batches))
            original(self, connection, table, names, watched)

        monkeypatch.setattr(driver, "copy", copy)

    def only_the_last_column(batch: pa.RecordBatch) -> pa.RecordBatch:
        empty = [pa.nulls(batch.num_rows, column.type) for column in batch.columns[:-1]]
        return pa.RecordBatch.from_arrays([*empty, batch.columns[-1]], schema=batch.schema)

    def shifted(batch: pa.RecordBatch) -> pa.RecordBatch:
        scores = pa.array([value + 1 for value in batch["score"].to_pylist()], pa.float32())
        return batch.set_column(1, "score", scores)

    for change, message in (
        (only_the_last_column, "id: 900 values were sent and 0 arrived"),
        (lambda batch: batch.slice(1), "900 rows were sent and 877 arrived"),
        (shifted, "score: the values sent"),
    ):
        tampering(change)
        with pytest.raises(PoolError, match=message):
            list(pool.load(target, [slice_of(rows_of(0, 900, 2.0), name)], "replace", lambda loaded: None))
    assert server.scalar(f"SELECT COUNT(*) FROM {name}") == 0
    assert server.staging_tables() == []


def test_leftovers_of_ended_runs_are_swept_and_those_of_running_ones_stay(
    server: Server, pool: MssqlPool, fresh: Fresh
) -> None:
    from onnx_pipeline.pools.tsql.app_locks import exclusive, resource_name
    from onnx_pipeline.pools.tsql.tables import staging_name

    name = fresh("swept")
    target = target_of(table=name)
    pool.ensure_target(target)
    running, ended = (resource_name(f"[dbo].[{name}]", key) for key in ("running", "ended"))
    kept, swept = staging_name(running, "run-9", 0), staging_name(ended, "run-9", 0)
    for table in (kept, swept):
        server.execute(f"CREATE TABLE {table} (id INT)")
    with pool.session("a run that goes on") as other, exclusive(other, running, 5):
        list(pool.load(target, [slice_of(rows_of(0, 5, 1.0), name)], "replace", lambda loaded: None))
        assert server.staging_tables() == [kept]
    list(pool.load(target, [slice_of(rows_of(0, 5, 1.0), name)], "replace", lambda loaded: None))
    assert server.staging_tables() == []


def test_a_target_with_other_columns_is_refused_by_name(server: Server, pool: MssqlPool, fresh: Fresh) -> None:
    name = fresh("other")
    server.execute(
        f"CREATE TABLE {name} (id BIGINT NOT NULL, score NVARCHAR(9), partition_key NVARCHAR(450) NOT NULL, "
        "model_sha256 NVARCHAR(64) NOT NULL, scored_at DATETIME2(6) NOT NULL, run_id NVARCHAR(64) NOT NULL, more INT)"
    )
    with pytest.raises(TargetError) as refused:
        pool.ensure_target(target_of(table=name))
    for problem in ("score is string there and float here", "label is missing", "more is there and not among"):
        assert problem in str(refused.value)


def test_a_source_that_is_not_there_is_named_with_what_is_near(server: Server, pool: MssqlPool, visits: str) -> None:
    with pytest.raises(PoolError, match=f"did you mean '?dbo.{visits}|{visits}"):
        pool.source(spec_of(f"{visits}x", "replace"))
