"""Connections that a second session kills, deadlocks and held locks, in mid-read and mid-load."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolBusyError, PoolError, PoolUnavailableError
from onnx_pipeline.pools.records import Loaded
from onnx_pipeline.pools.tsql.app_locks import exclusive, resource_name
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.server import Server, connect
from onnx_pipeline_tests.pools.conftest import rows_of, slice_of, target_of

Fresh = Callable[[str], str]
ROWS = 5_000


class Waits(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        time.sleep(0.2)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture(params=["mssqlpython", "pyodbc"])
def pool(request: pytest.FixtureRequest, open_with: OpenPool, waits: Waits) -> MssqlPool:
    pool = open_with(request.param)
    pool._retries = Retries(sleep=waits)
    return pool


def kill_everyone_else(server: Server) -> int:
    """End every session of the database but the one that asks, and give the server a moment for it."""
    ended = server.end_other_sessions()
    time.sleep(0.3)
    return ended


class Once:
    """Kills everyone else, the first time that it is called."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.killed = 0

    def __call__(self) -> None:
        if not self.killed:
            self.killed = kill_everyone_else(self._server)
            assert self.killed


def around(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], None], *, before: bool) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            act()
        result = original(*arguments, **named)
        if not before:
            act()
        return result

    monkeypatch.setattr(owner, name, wrapped)


def in_the_middle_of_the_copy(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    original = Session.copy

    def copy(self: Any, table: Any, schema: Any, batches: Iterator[pa.RecordBatch]) -> None:
        def some() -> Iterator[pa.RecordBatch]:
            for number, batch in enumerate(batches):
                if number == 60:
                    act()
                yield batch

        original(self, table, schema, some())

    monkeypatch.setattr(Session, "copy", copy)


def around_the_insert(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], *, before: bool) -> None:
    """Around the statement that moves rows from staging into the target `killed_…`."""
    original = Session.execute

    def execute(self: Session, statement: Any, values: Any = ()) -> int:
        moves = isinstance(statement, sa.Insert) and statement.table.name.startswith("killed")
        if moves and before:
            act()
        result = original(self, statement, values)
        if moves and not before:
            act()
        return result

    monkeypatch.setattr(Session, "execute", execute)


PLACES: dict[str, Callable[[pytest.MonkeyPatch, Callable[[], None]], None]] = {
    "before rows are staged": lambda patch, act: around(patch, Session, "copy", act, before=True),
    "while rows are staged": in_the_middle_of_the_copy,
    "after rows are staged": lambda patch, act: around(patch, Session, "copy", act, before=False),
    "when old rows are deleted": lambda patch, act: around_the_insert(patch, act, before=True),
    "when new rows are in": lambda patch, act: around_the_insert(patch, act, before=False),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_session_killed_in_mid_load_is_made_anew_and_the_slice_loaded_once(
    server: Server, pool: MssqlPool, waits: Waits, fresh: Fresh, monkeypatch: pytest.MonkeyPatch, place: str, mode: str
) -> None:
    name = fresh("killed")
    target = target_of(table=name)
    pool.ensure_target(target)
    if mode != "append":
        list(pool.load(target, [slice_of(rows_of(0, 7, 1.0), name)], mode, lambda loaded: None))
    once = Once(server)
    PLACES[place](monkeypatch, once)
    piece = slice_of(rows_of(0, ROWS, 2.0), name, "run-2")
    (loaded,) = pool.load(target, [piece], mode, lambda loaded: None)
    assert once.killed
    assert len(waits) == 1
    assert loaded.present == ROWS
    found = server.rows(f"SELECT run_id, COUNT(*), COUNT(DISTINCT id), SUM(score) FROM {name} GROUP BY run_id")
    assert found == [("run-2", ROWS, ROWS, 2.0 * ROWS)]
    logged = server.rows("SELECT run_id, [rows] FROM onnx_scoring_log WHERE partition_key = ?", [name])
    assert logged == [("run-2", ROWS)]
    list(pool.load(target, [slice_of(rows_of(0, 1, 1.0), fresh("sweeper"))], mode, lambda loaded: None))
    assert server.staging_tables() == []


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_commit_whose_answer_is_lost_is_not_done_again(
    server: Server, pool: MssqlPool, waits: Waits, fresh: Fresh, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    name = fresh("uncertain")
    target = target_of(table=name)
    pool.ensure_target(target)
    original = Session.execute
    lost: list[str] = []

    def execute(self: Session, statement: Any, values: Any = ()) -> int:
        result = original(self, statement, values)
        if str(statement).startswith("COMMIT") and not lost:
            lost.append(name)
            kill_everyone_else(server)
            raise PoolUnavailableError("the answer is lost")
        return result

    monkeypatch.setattr(Session, "execute", execute)
    verified: list[Loaded] = []
    (loaded,) = pool.load(target, [slice_of(rows_of(0, ROWS, 2.0), name)], mode, verified.append)
    assert lost
    assert verified == [loaded]
    assert server.rows(f"SELECT COUNT(*), COUNT(DISTINCT id) FROM {name}") == [(ROWS, ROWS)]


def test_a_session_killed_in_mid_read_raises_and_never_ends_early(
    server: Server, pool: MssqlPool, fresh: Fresh
) -> None:
    name = fresh("long")
    server.execute(f"CREATE TABLE {name} (id INT NOT NULL, filler CHAR(2000) NOT NULL)")
    digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
    server.execute(
        f"INSERT INTO {name} SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d, 'x' "
        f"FROM {digits} AS a(d), {digits} AS b(d), {digits} AS c(d), {digits} AS e(d), {digits} AS f(d)"
    )
    statement = sa.select(sa.column("id"), sa.column("filler")).select_from(sa.table(name))
    seen: list[int] = []

    def read() -> None:
        with pool.read(statement) as reader:
            for batch in reader:
                if not seen:
                    kill_everyone_else(server)
                seen.append(batch.num_rows)

    with pytest.raises(PoolUnavailableError):
        read()
    assert 0 < sum(seen) < 100_000


def test_a_deadlocks_victim_is_tried_again(
    server: Server, pool: MssqlPool, waits: Waits, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, other = fresh("deadlocked"), fresh("other")
    target = target_of(table=name)
    pool.ensure_target(target)
    list(pool.load(target, [slice_of(rows_of(0, 7, 1.0), name)], "replace", lambda loaded: None))
    server.execute(f"CREATE TABLE {other} (id INT)")
    server.execute(f"INSERT INTO {other} VALUES (1)")
    rival = connect(server.address)
    cursor = rival.cursor()
    cursor.execute("SET DEADLOCK_PRIORITY HIGH") if server.takes("SET DEADLOCK_PRIORITY NORMAL") else None
    threads: list[threading.Thread] = []

    def cross() -> None:
        """The rival wants the log's row, which this load's transaction holds."""
        time.sleep(0.3)
        cursor.execute(f"UPDATE onnx_scoring_log SET seconds = 0 WHERE partition_key = '{name}'")
        cursor.execute("ROLLBACK TRANSACTION")

    def start(*_: Any) -> None:
        if not threads:
            threads.append(threading.Thread(target=cross))
            threads[0].start()

    cursor.execute("BEGIN TRANSACTION")
    cursor.execute(f"UPDATE {name} SET score = score")
    original = Session.execute

    def execute(self: Session, statement: Any, values: Any = ()) -> int:
        result = original(self, statement, values)
        if getattr(statement, "__visit_name__", "") == "delete" and "onnx_scoring_log" in str(statement):
            start()
        return result

    monkeypatch.setattr(Session, "execute", execute)
    try:
        (loaded,) = pool.load(target, [slice_of(rows_of(0, 90, 2.0), name, "run-2")], "replace", lambda loaded: None)
    finally:
        threads[0].join()
        rival.close()
    assert len(waits) == 1, "the rival was the victim"
    assert (loaded.deleted, loaded.inserted) == (7, 90)
    assert server.rows(f"SELECT run_id, COUNT(*) FROM {name} GROUP BY run_id") == [("run-2", 90)]


def test_who_holds_a_slice_for_long_is_named(server: Server, pool: MssqlPool, fresh: Fresh) -> None:
    name = fresh("held")
    target = target_of(table=name)
    pool.ensure_target(target)
    hurried = pool.waiting_at_most(1)
    with pool.session("a long load") as other, exclusive(other, resource_name(f"[dbo].[{name}]", name), 5):
        with pytest.raises(PoolBusyError, match="was still loading it after 1 s"):
            list(hurried.load(target, [slice_of(rows_of(0, 5, 1.0), name)], "replace", lambda loaded: None))
    list(hurried.load(target, [slice_of(rows_of(0, 5, 1.0), name)], "replace", lambda loaded: None))
    assert server.scalar(f"SELECT COUNT(*) FROM {name}") == 5


def test_a_server_that_is_not_there_is_waited_for_a_bounded_while(server: Server, pool: MssqlPool) -> None:
    pool._address = replace(pool._address, port=1)
    pool._login_seconds = 1
    pool._retries = replace(pool._retries, most=1)
    with pytest.raises(PoolUnavailableError, match="Given up after 2 attempts") as refused:
        pool.scoring_log("anything")
    assert pool._address.password is None or pool._address.password not in str(refused.value)


def test_a_wrong_password_is_refused_at_once_and_not_told(server: Server, pool: MssqlPool, waits: Waits) -> None:
    import mssql_python

    wrong = replace(pool._address, password="Wrong_secret_1")
    try:
        connect(wrong).close()
        pytest.skip("this server takes any password")
    except mssql_python.Error:
        pool._address = wrong
    with pytest.raises(PoolError) as refused:
        pool.scoring_log("anything")
    assert not refused.value.transient
    assert "Wrong_secret_1" not in str(refused.value)
    assert waits == []
