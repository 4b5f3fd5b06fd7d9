"""An instance of DuckDB that stays from one use of the pool to the next: what of the one the other must not see."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.duckdb import instance
from onnx_pipeline.pools.duckdb.pool import DuckDBPool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "pool.duckdb"
    _made(file, 1)
    return file


def _made(file: Path, number: int) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT $1::INTEGER AS number", [number])


def _numbers(pool: DuckDBPool) -> list[int]:
    with pool.connect("a test") as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()]


def _is_kept(file: Path) -> bool:
    return any(key[0] == file for key in instance._kept)


def _by_another_process(file: Path, statement: str) -> str:
    code = f"import duckdb, sys; print(duckdb.connect({str(file)!r}).execute(sys.argv[1]).fetchall())"
    return subprocess.run([sys.executable, "-c", code, statement], check=True, capture_output=True, text=True).stdout


def test_another_process_has_the_file_between_two_uses_and_is_seen(path: Path) -> None:
    pool = DuckDBPool(path)

    assert _numbers(pool) == [1]
    assert _is_kept(path)
    _by_another_process(path, "INSERT INTO numbers VALUES (2)")

    assert _numbers(pool) == [1, 2]
    assert _by_another_process(path, "SELECT count(*) FROM numbers") == "[(2,)]\n"


def test_what_was_committed_is_in_the_file_and_not_in_its_log(path: Path) -> None:
    with DuckDBPool(path).connect("a test") as connection:
        connection.execute("INSERT INTO numbers VALUES (2)")

    assert not path.with_name("pool.duckdb.wal").exists()


def test_a_file_in_place_of_another_is_read_anew(path: Path) -> None:
    pool = DuckDBPool(path)
    assert _numbers(pool) == [1]

    path.unlink()
    with pytest.raises(PoolError, match="there is no pool at"):
        _numbers(pool)
    _made(path, 7)

    assert _numbers(pool) == [7]


def test_settings_and_temporary_tables_are_not_the_next_ones(path: Path) -> None:
    pool = DuckDBPool(path)
    with pool.connect("a test") as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("CREATE TEMP TABLE left_behind AS SELECT 1 AS one")

    with pool.connect("a test") as connection:
        found = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('preserve_insertion_order'), "
            "(SELECT count(*) FROM duckdb_tables() WHERE table_name = 'left_behind')"
        ).fetchall()

    assert found == [("122.0 MiB", True, 0)]


def test_a_temporary_table_is_gone_where_the_instance_stays(path: Path) -> None:
    pool = DuckDBPool(path)
    with pool.connect("a test") as connection:
        connection.execute("CREATE TEMP TABLE left_behind AS SELECT 1 AS one")
    assert _is_kept(path)

    with pool.connect("a test") as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM left_behind")


def test_a_use_that_fails_leaves_nothing(path: Path) -> None:
    pool = DuckDBPool(path)
    with pytest.raises(PoolError, match="there_is_none"), pool.connect("a test") as connection:
        connection.execute("BEGIN; INSERT INTO numbers VALUES (2); FROM there_is_none")

    assert not _is_kept(path)
    assert _by_another_process(path, "FROM numbers") == "[(1,)]\n"
    assert _numbers(pool) == [1]


def test_one_that_holds_much_memory_is_not_kept(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE wide AS SELECT random() AS x FROM range(10_000_000)")
    pool = DuckDBPool(path)
    with pool.connect("a test") as connection:
        connection.execute("SELECT sum(x) FROM wide").fetchall()

    assert not _is_kept(path)
    assert _numbers(pool) == [1]


def test_one_that_spilled_is_not_kept_and_takes_its_folder_along(path: Path) -> None:
    pool = DuckDBPool(path, memory_limit="32MB", threads=1)
    spills = path.with_name("pool.duckdb.tmp")
    with pool.connect("a test") as connection:
        connection.execute("CREATE TEMP TABLE large AS SELECT random() AS x FROM range(10_000_000)")
        assert spills.exists()

    assert not _is_kept(path)
    assert not spills.exists()


@pytest.mark.parametrize(
    "name", ["memory.duckdb", "temp.duckdb", "Memory.v2.duckdb", "it's.duckdb", "select.duckdb", "a b"]
)
def test_files_of_every_name(tmp_path: Path, name: str) -> None:
    _made(tmp_path / name, 5)
    pool = DuckDBPool(tmp_path / name)

    assert [_numbers(pool), _numbers(pool)] == [[5], [5]]
    with duckdb.connect(str(tmp_path / name)) as connection:
        ((by_itself,),) = connection.execute("SELECT current_database()").fetchall()
    with pool.connect("a test") as connection:
        # What a query of the source may name.
        assert connection.execute("SELECT current_database()").fetchall() == [(by_itself,)]


def test_a_schema_by_the_name_of_duckdbs_own_database(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA memory; CREATE TABLE memory.numbers AS SELECT 9 AS number")
    pool = DuckDBPool(path)

    for _ in range(2):
        with pool.connect("a test") as connection:
            assert connection.execute("FROM memory.numbers").fetchall() == [(9,)]
    assert _numbers(pool) == [1]


def test_no_more_are_kept_than_two(tmp_path: Path) -> None:
    for number in range(4):
        _made(tmp_path / f"{number}.duckdb", number)
        assert _numbers(DuckDBPool(tmp_path / f"{number}.duckdb")) == [number]

    assert [_is_kept(tmp_path / f"{number}.duckdb") for number in range(4)] == [False, False, True, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_has_an_instance_of_its_own(path: Path) -> None:
    pool = DuckDBPool(path)
    assert _numbers(pool) == [1]

    child = os.fork()
    if not child:
        try:
            os._exit(0 if _numbers(pool) == [1] else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert _numbers(pool) == [1]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", ["at once", "streamed"])
def test_a_query_that_is_interrupted_says_so_and_leaves_the_pool_usable(path: Path, how: str) -> None:
    """A signal is how Dagster cancels a run. As an error of the query it would be a failed run, and be tried again."""
    numbers = sa.func.range(100_000_000).table_valued("range")
    query = sa.select(sa.func.sum(sa.func.sqrt(numbers.c.range)))
    if how == "streamed":
        query = sa.select(numbers.c.range).where(sa.func.sin(numbers.c.range) > 0.99999)
    pool = DuckDBPool(path)
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _read_on(pool, query)

    assert _numbers(pool) == [1]


def _read_on(pool: DuckDBPool, query: sa.Select[tuple[object]]) -> None:
    """One query after the other, since nobody knows how long one takes here: a signal comes within one, or right after."""
    while True:
        with pool.read(query) as found:
            for _ in found:
                pass
