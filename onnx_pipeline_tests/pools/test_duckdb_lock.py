"""One file, many processes: waiting is bounded, the holder is named, and the dead hold nothing."""

import os
import signal
import subprocess
import sys
import threading

import duckdb
import pytest

from onnx_pipeline.base.errors import PoolBusyError, PoolError, SpecError
from onnx_pipeline.pools import open_pool
from onnx_pipeline.pools.duckdb.pool import DuckDBPool

OURS = """
import sys
from pathlib import Path
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
with DuckDBPool(Path(sys.argv[1])).connect("a long night", create=True) as connection:
    connection.execute("CREATE OR REPLACE TABLE written (x INTEGER)").fetchall()
    print("held", flush=True)
    sys.stdin.readline()
"""
FOREIGN = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""
ADDING = """
import sys
from pathlib import Path
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
pool = DuckDBPool(Path(sys.argv[1]))
for _ in range(8):
    with pool.connect("adding one") as connection:
        connection.execute("UPDATE counter SET n = n + 1").fetchall()
"""


@pytest.fixture
def holder(pool):
    """`holder(program)` starts a process that holds the pool until it is told to end."""
    started = []

    def start(program):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(pool.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def impatient(pool, seconds=0.3):
    return DuckDBPool(pool.path, lock_timeout=seconds)


def test_our_own_holder_is_named_with_what_it_does(pool, holder):
    process = holder(OURS)
    with pytest.raises(PoolBusyError) as raised, impatient(pool).connect("a test"):
        pass
    message = str(raised.value)
    assert f"still held by process {process.pid} (" in message
    assert "a long night" in message
    assert "so nothing was done" in message
    assert "?lock_timeout=<seconds>" in message
    assert raised.value.transient


def test_a_foreign_holder_is_named_by_its_process(pool, holder):
    process = holder(FOREIGN)
    named = rf"still held by .*PID {process.pid}.*Close it there"
    with pytest.raises(PoolBusyError, match=named) as raised, impatient(pool).connect("a test"):
        pass
    assert raised.value.transient


@pytest.mark.parametrize("program", [OURS, FOREIGN])
def test_the_pool_is_free_once_its_holder_is_done(pool, holder, program):
    process = holder(program)
    threading.Timer(0.5, lambda: process.stdin.write("\n") and process.stdin.flush()).start()
    with DuckDBPool(pool.path, lock_timeout=60).connect("a test") as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("program", [OURS, FOREIGN])
def test_a_killed_holder_holds_nothing(pool, holder, program):
    process = holder(program)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with impatient(pool, 5).connect("a test") as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_what_a_killed_process_had_not_committed_is_not_there(pool, holder, sql):
    sql("CREATE TABLE kept AS SELECT 1 AS x")
    process = holder(
        OURS.replace(
            'print("held"', 'connection.begin(); connection.execute("DELETE FROM kept").fetchall(); print("held"'
        )
    )
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert sql("SELECT x FROM kept") == [(1,)]


def test_two_processes_at_once_both_get_their_turns(pool, sql):
    sql("CREATE TABLE counter AS SELECT 0 AS n")
    command = [sys.executable, "-c", ADDING, str(pool.path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert sql("SELECT n FROM counter") == [(16,)]


def test_two_threads_of_one_process_exclude_each_other_too(pool, sql):
    sql("CREATE TABLE counter AS SELECT 0 AS n")

    def add():
        for _ in range(4):
            ((n,),) = sql("SELECT n FROM counter")
            assert n >= 0
            sql("UPDATE counter SET n = n + 1")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sql("SELECT n FROM counter") == [(16,)]


def test_a_reader_holds_the_file_only_as_long_as_it_reads(pool, sql):
    import sqlalchemy as sa

    sql("CREATE TABLE numbers AS SELECT range AS n FROM range(10)")
    statement = sa.select(sa.column("n")).select_from(sa.table("numbers"))
    with pool.read(statement) as reader:
        with pytest.raises(PoolBusyError, match=f"process {os.getpid()}"), impatient(pool).connect("a test"):
            pass
        assert reader.read_all()["n"].to_pylist() == list(range(10))
    assert sql("SELECT count(*) FROM numbers") == [(10,)]


def test_a_pool_that_is_missing_says_how_to_make_one(project_home):
    pool = open_pool("duckdb:///data/other.duckdb")
    with pytest.raises(PoolError, match=r"there is no pool at .*data/other\.duckdb\. `onnx-pipeline sample` makes one"):
        pool.scoring_log("s")
    assert not (project_home / "data" / "other.duckdb").exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(pool):
    pool.path.write_bytes(b"not a database " * 1000)
    with pytest.raises(PoolError, match="cannot be opened as a DuckDB database"), pool.connect("a test"):
        pass
    assert pool.path.read_bytes() == b"not a database " * 1000


def test_a_folder_is_no_database(project_home):
    (project_home / "data").mkdir()
    with pytest.raises(PoolError, match="cannot be opened as a DuckDB database"):
        DuckDBPool(project_home / "data").scoring_log("s")


def test_a_failing_statement_names_the_pool_and_the_purpose(pool):
    named = r"duckdb:pool\.duckdb, counting sheep: .*sheep"
    with pytest.raises(PoolError, match=named), pool.connect("counting sheep") as connection:
        connection.execute("SELECT * FROM sheep").fetchall()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "duckdb:///data/pool.duckdb?memory=1GB",
            "unknown option 'memory'; there are memory_limit, threads and lock_timeout",
        ),
        ("duckdb:///data/pool.duckdb?threads=two", "threads and lock_timeout are numbers"),
        ("duckdb:///data/pool.duckdb?lock_timeout=soon", "threads and lock_timeout are numbers"),
        ("duckdb://data/pool.duckdb", r"names no file: write duckdb:///data/pool\.duckdb"),
        ("duckdb:///", "names no file"),
        ("duckdb:", "names no file"),
        ("sqlite:///pool.db", "scheme 'sqlite' names no kind of pool; there are: duckdb"),
        ("pool.duckdb", "names no kind of pool"),
    ],
)
def test_a_url_that_cannot_work(url, message):
    with pytest.raises(SpecError, match=message):
        open_pool(url)


def test_a_url_starts_at_the_project_or_at_the_root(project_home, tmp_path):
    assert open_pool("duckdb:///data/pool.duckdb").path == project_home / "data" / "pool.duckdb"
    assert open_pool(f"duckdb:///{tmp_path}/p.duckdb").path == tmp_path / "p.duckdb"


def test_options_of_the_url_reach_duckdb(project_home):
    pool = open_pool("duckdb:///p.duckdb?memory_limit=256MB&threads=3&lock_timeout=7.5")
    with pool.connect("a test", create=True) as connection:
        row = connection.execute("SELECT current_setting('threads'), current_setting('memory_limit')").fetchall()[0]
    assert row == (3, "244.1 MiB")


def test_memory_is_limited_where_the_url_says_nothing(pool):
    with pool.connect("a test") as connection:
        limited = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    unlimited = duckdb.connect().execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    assert limited == "122.0 MiB"
    assert limited != unlimited
