"""What DuckDB may take of memory: enough for the table at hand, and what the URL says where it says something."""

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools import SliceLoad, open_pool
from onnx_pipeline.pools.rows import StagedRows
from onnx_pipeline_tests.pools.test_duckdb_load import accept, make_target, slice_of

MIB = 2**20


def limit_of(pool, columns):
    with pool.connect("a test", create=True, columns=columns) as connection:
        text = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    number, unit = text.split()
    return float(number) * {"MiB": 1, "GiB": 1024}[unit]


def test_the_limit_follows_the_columns_that_are_read_by_all_threads(tmp_path):
    pool = open_pool(f"duckdb:///{tmp_path}/p.duckdb?threads=4")
    assert limit_of(pool, 0) == limit_of(pool, 20) < 128
    # What 250 columns of doubles took to be read by four threads.
    assert limit_of(pool, 250) > 518e6 / MIB


def test_a_limit_of_the_url_holds_however_many_columns_are_read(tmp_path):
    pool = open_pool(f"duckdb:///{tmp_path}/p.duckdb?threads=4&memory_limit=100MB")
    assert limit_of(pool, 0) == limit_of(pool, 1000) < 100


def test_what_lacks_memory_says_how_to_give_more(tmp_path):
    with duckdb.connect(str(tmp_path / "p.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS id FROM range(1000)")
    pool = open_pool(f"duckdb:///{tmp_path}/p.duckdb?memory_limit=30MB")
    text = sa.func.repeat("x", 100_000) + sa.cast(sa.column("id"), sa.String)
    every = sa.select(sa.func.length(sa.func.string_agg(text, ""))).select_from(sa.table("t"))
    with pytest.raises(PoolError) as refused:
        pool.fetch(every)
    assert "Out of Memory Error: " in str(refused.value)
    assert "Give DuckDB more by the pool's URL (?memory_limit=2GB)" in str(refused.value)
    assert "SET " not in str(refused.value)


@pytest.mark.nightly
def test_a_wide_table_is_read_without_a_word_about_memory(tmp_path):
    names = [f"c{index}" for index in range(300)]
    with duckdb.connect(str(tmp_path / "p.duckdb"), config={"threads": 2}) as connection:
        connection.execute(
            f"CREATE TABLE wide AS SELECT {', '.join(f'random() AS {n}' for n in names)} FROM range(250000)"
        )
    wide = sa.select(*(sa.cast(sa.column(name), sa.REAL) for name in names)).select_from(sa.table("wide"))
    with open_pool(f"duckdb:///{tmp_path}/p.duckdb?threads=2").read(wide) as reader:
        assert sum(batch.num_rows for batch in reader) == 250_000
    # The same within what a narrow table gets.
    with (
        pytest.raises(PoolError, match="reading rows: Out of Memory Error"),
        open_pool(f"duckdb:///{tmp_path}/p.duckdb?threads=2&memory_limit=128MB").read(wide) as reader,
    ):
        list(reader)


def test_a_batch_of_a_wide_table_has_fewer_rows(pool, sql):
    sql("CREATE TABLE t AS SELECT i FROM range(200000) r(i)")
    i = sa.column("i")

    def largest(*columns):
        with pool.read(sa.select(*columns).select_from(sa.table("t"))) as reader:
            return max(batch.num_rows for batch in reader)

    assert largest(i) == 61_440
    assert largest(*((i + index).label(f"c{index}") for index in range(200))) <= 20_000


def test_a_row_that_fails_in_the_middle_of_a_table_is_an_error_of_the_pool(pool, sql):
    sql("CREATE TABLE t AS SELECT CASE WHEN i = 300000 THEN 'many' ELSE '1' END AS visits FROM range(400000) r(i)")
    visits = sa.select(sa.cast(sa.column("visits"), sa.Integer)).select_from(sa.table("t"))
    with (
        pytest.raises(PoolError, match="reading rows: Conversion Error: Could not convert string 'many' to INT32"),
        pool.read(visits) as reader,
    ):
        list(reader)


@pytest.mark.parametrize("rows", [1, 122_879, 122_880, 122_881, 300_000])
@pytest.mark.parametrize("size", [50_000, 122_880, 400_000])
def test_rows_arrive_whole_and_in_stretches_of_a_row_group_whatever_batches_they_were_staged_in(pool, sql, rows, size):
    target = make_target()
    staged = pa.table({"id": pa.array(range(rows), pa.int64()), "score": pa.array([0.5] * rows, pa.float32())})
    batches = staged.to_batches(max_chunksize=size)
    piece = slice_of(target, "p", [(0, 0.5)])
    one_thread = open_pool(f"duckdb:///{pool.path}?threads=1")
    one_thread.ensure_target(target)
    opened = StagedRows(lambda: pa.RecordBatchReader.from_batches(staged.schema, batches), keys_ascend=True)
    for by in (one_thread, pool):
        (loaded,) = by.load(target, [SliceLoad(piece.log, opened)], "replace", accept)
        assert loaded.inserted == loaded.present == rows
        assert sql("SELECT count(*), min(id), max(id), count(DISTINCT id) FROM scores") == [(rows, 0, rows - 1, rows)]
        if by is one_thread:
            assert sql("SELECT count(*) FROM scores WHERE id != rowid") == [(0,)]
    # No row group is torn, so that each holds few keys: threads take them in turn, and put them down in any order.
    steps = "SELECT id - lag(id) OVER (ORDER BY rowid) AS step FROM scores"
    ((torn,),) = sql(f"SELECT count(*) FROM ({steps}) WHERE step != 1")
    assert torn <= rows // 122_880
