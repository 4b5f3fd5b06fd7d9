"""Whatever breaks at whatever statement: the old slice or the new one, once, and nothing left lying about."""

import pytest

from onnx_pipeline.base.errors import PoolBusyError, PoolError, PoolPausedError, PoolUnavailableError
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import TRANSIENT, Retries
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits, load, rows_of, slice_of, target_of
from onnx_pipeline_tests.pools.imitation import Fault, ImitatedDriver, Server

OLD = ("run-1", 1.0, 100)
NEW = {
    "replace": [("run-2", 2.0, 90)],
    "append": [("run-2", 2.0, 90)],
    "upsert": [("run-1", 1.0, 50), ("run-2", 2.0, 90)],
}
STANDING = "SELECT run_id, score, count(*) FROM predictions WHERE partition_key = 'new' GROUP BY ALL ORDER BY ALL"
ROWS_2 = rows_of(50, 90, 2.0)


def prepared(mode):
    """A pool whose slice `new` stands already, except where it is going to be appended."""
    server, waits = Server(), Waits()
    pool = MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=waits))
    load(pool, slice_of(rows_of(0, 30, 9.0), "other", "run-0"))
    if mode != "append":
        load(pool, slice_of(rows_of(0, 100, 1.0), "new"))
    server.statements.clear()
    return server, pool, waits


def score(pool, mode):
    (loaded,) = pool.load(target_of(), iter([slice_of(ROWS_2, "new", "run-2")]), mode, lambda _: None)
    return loaded


def statements_of(mode):
    server, pool, _ = prepared(mode)
    score(pool, mode)
    return list(server.statements)


COUNTS = {mode: len(statements_of(mode)) for mode in NEW}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [None, 1205, 40613], ids=["broken", "deadlock", "transient"])
@pytest.mark.parametrize("mode", NEW)
def test_what_passes_is_tried_again_and_loads_the_rows_once(mode, number, after):
    for at in range(1, COUNTS[mode] + 1):
        server, pool, waits = prepared(mode)
        server.fault = Fault(at, number, after)
        try:
            loaded = score(pool, mode)
        except PoolUnavailableError:
            pytest.fail(f"statement {at}, {server.statements[at - 1]}: it was not tried again")
        what = f"statement {at}: {server.statements[at - 1]}"
        assert server.rows(STANDING) == NEW[mode], what
        assert server.rows("SELECT count(*) FROM predictions WHERE partition_key = 'other'") == [(30,)], what
        assert server.rows("SELECT run_id, rows FROM onnx_scoring_log WHERE partition_key = 'new'") == [
            ("run-2", 90)
        ], what
        assert loaded.inserted + loaded.updated == loaded.present == 90, what
        assert not server.locks, what
        # A table whose connection broke before its drop is what the next load sweeps.
        server.fault = None
        load(pool, slice_of(rows_of(0, 1, 0.0), "next", "run-3"))
        assert server.staging_tables() == [], what


@pytest.mark.parametrize("mode", NEW)
def test_what_does_not_pass_leaves_the_old_slice(mode):
    for at in range(1, COUNTS[mode] + 1):
        server, pool, waits = prepared(mode)
        before = server.rows(STANDING)
        server.fault = Fault(at, 8152)
        what = f"statement {at}: {statements_of(mode)[at - 1]}" if at == 1 else f"statement {at}"
        try:
            score(pool, mode)
        except PoolError as error:
            assert "8152" in str(error), what
            assert server.rows(STANDING) == before, what
        else:
            # Nothing that the slice depends on: its lock is given back, or its staging table dropped.
            assert server.rows(STANDING) == NEW[mode], what
        assert waits.seconds == []
        assert not server.locks, what


def test_a_load_that_breaks_every_time_gives_up_after_a_bounded_while():
    server, pool, waits = prepared("replace")

    class AlwaysBroken(Fault):
        def __init__(self):
            super().__init__(0)

        def __eq__(self, other):
            return True

    original = server.arrive

    def arrive(connection, statement, carry_out):
        if statement.startswith("INSERT INTO predictions"):
            connection.fail(None)
        return original(connection, statement, carry_out)

    server.arrive = arrive
    with pytest.raises(PoolUnavailableError, match="Given up after 7 attempts"):
        score(pool, "replace")
    assert server.rows(STANDING) == [OLD]
    assert len(waits.seconds) == 6
    for wait, nominal in zip(waits.seconds, [5, 10, 20, 40, 60, 60], strict=True):
        assert 0.75 * nominal <= wait <= 1.25 * nominal


def test_a_paused_pool_is_named_and_not_waited_for():
    server, pool, waits = prepared("replace")
    server.fault = Fault(1, 42108)
    with pytest.raises(PoolPausedError, match="paused. Resume it"):
        score(pool, "replace")
    assert waits.seconds == []


@pytest.mark.parametrize("number", sorted(TRANSIENT))
def test_every_number_that_may_pass_is_tried_again(number):
    server, pool, waits = prepared("replace")
    server.fault = Fault(1, number)
    assert pool.scoring_log("scoring")["new"].run_id == "run-1"
    assert len(waits.seconds) == 1


def test_reading_breaks_before_the_first_row_and_is_tried_again(server, imitated):
    import sqlalchemy as sa

    load(imitated, slice_of(rows_of(0, 100, 1.0)))
    statement = sa.select(sa.column("id")).select_from(sa.table("predictions"))
    server.statements.clear()
    server.fault = Fault(2)
    assert imitated.fetch(statement).num_rows == 100


def test_a_faulty_driver_is_found_out_before_anything_is_swapped_in(server, imitated):
    load(imitated, slice_of(rows_of(0, 100, 1.0)))

    def only_the_last_column(batch):
        import pyarrow as pa

        empty = [pa.nulls(batch.num_rows, column.type) for column in batch.columns[:-1]]
        return pa.RecordBatch.from_arrays([*empty, batch.columns[-1]], schema=batch.schema)

    server.tampering = only_the_last_column
    with pytest.raises(PoolError, match=r"does not hold what was sent: id: 900 values were sent and 0 arrived"):
        load(imitated, slice_of(rows_of(0, 900, 2.0), run_id="run-2"))
    server.tampering = lambda batch: batch.slice(1)
    with pytest.raises(PoolError, match=r"900 rows were sent and 877 arrived"):
        load(imitated, slice_of(rows_of(0, 900, 2.0), run_id="run-2"))
    assert server.rows("SELECT run_id, count(*) FROM predictions GROUP BY ALL") == [("run-1", 100)]
    assert server.staging_tables() == []


def test_few_rows_take_no_bulk_copy_and_are_compared_all_the_same(server, imitated):
    def bulk_copies():
        return [text for text in server.statements if text.startswith("INSERT BULK")]

    load(imitated, slice_of(rows_of(0, 600, 1.0)))
    assert bulk_copies() == []
    load(imitated, slice_of(rows_of(600, 700, 1.0), "2026-01-02"))
    assert len(bulk_copies()) == 18  # one a batch of 40
    assert server.rows("SELECT count(*), count(DISTINCT id), sum(id) FROM predictions") == [
        (1300, 1300, sum(range(1300)))
    ]


def test_what_somebody_else_is_loading_is_waited_for_and_then_refused(server, imitated):
    from onnx_pipeline.pools.tsql.app_locks import resource_name

    load(imitated, slice_of(rows_of(0, 100, 1.0)))
    somebody = ImitatedDriver(server).connect(ADDRESS)
    resource = resource_name("[dbo].[predictions]", "2026-01-01")
    server.locks[resource] = somebody
    with pytest.raises(PoolBusyError, match="another session was still loading it after 600 s"):
        load(imitated, slice_of(rows_of(0, 90, 2.0)))
    # Another partition of the same table is free.
    load(imitated, slice_of(rows_of(0, 90, 2.0), "2026-01-02"))


def test_leftovers_of_ended_runs_are_swept_and_those_of_running_ones_stay(server, imitated):
    from onnx_pipeline.pools.tsql.app_locks import resource_name
    from onnx_pipeline.pools.tsql.tables import staging_name

    load(imitated, slice_of(rows_of(0, 1, 1.0)))
    running, ended = (resource_name("[dbo].[predictions]", key) for key in ("running", "ended"))
    for resource in (running, ended):
        server.rows(f"CREATE TABLE {staging_name(resource, 'run-9', 0)} (id INT)")
    server.locks[running] = ImitatedDriver(server).connect(ADDRESS)
    load(imitated, slice_of(rows_of(0, 1, 1.0)))
    assert server.staging_tables() == [staging_name(running, "run-9", 0)]
