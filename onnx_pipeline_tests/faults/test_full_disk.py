"""A disk of one megabyte that fills up: the error names folder, room and remedy, and nothing half written stays."""

import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onnx_pipeline.base.errors import ModelError, PoolError, StagingError
from onnx_pipeline.cluster.files import files_at
from onnx_pipeline.models.artifact_files import FolderFiles
from onnx_pipeline.pools.duckdb.load import transaction
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.staging import Staging

LARGE = pa.record_batch({"score": np.random.default_rng(1).normal(size=300_000)})
SMALL = LARGE.slice(0, 100)
ROOM = r"its disk is full \(.+ of 1 MB are free on it"


@pytest.fixture
def disk(tmp_path):
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk was tried, since only root may mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def left(disk):
    return [path for path in disk.rglob("*") if path.is_file()]


def staged(disk, batch):
    with Staging(disk / "staging").writer("scoring", "features", "key", batch.schema) as writer:
        writer.write(batch)
        writer.commit({})


def test_staging(disk):
    with pytest.raises(
        StagingError, match=rf"^{disk}/staging/scoring/features/_key cannot be written: {ROOM}, and 2\.3 MB"
    ):
        staged(disk, LARGE)
    assert left(disk) == []
    staged(disk, SMALL)
    with Staging(disk / "staging").open("scoring", "features", "key") as (_, reader):
        assert reader.read_all().num_rows == 100


def part(disk, batch):
    with (
        files_at(str(disk / "parts")).create("part-0.parquet") as sink,
        pq.ParquetWriter(sink, batch.schema, compression="none", use_dictionary=False) as writer,
    ):
        writer.write_batch(batch)


def test_a_part_of_a_clusters_task(disk):
    with pytest.raises(
        StagingError, match=rf"^{disk}/parts/part-0\.parquet cannot be written: {ROOM}.*the part is not there"
    ):
        part(disk, LARGE)
    assert left(disk) == []
    part(disk, SMALL)
    assert pq.read_table(disk / "parts" / "part-0.parquet").num_rows == 100


def test_what_a_buffer_held_until_the_end(disk):
    (disk / "filler").write_bytes(b"x" * (2**20 - 4096))
    with pytest.raises(StagingError, match=ROOM), files_at(str(disk)).create("part-0") as sink:
        sink.write(b"y" * 5000)  # less than a buffer
    assert left(disk) == [disk / "filler"]


def test_an_artifact(disk):
    with pytest.raises(ModelError, match=rf"model\.onnx cannot be written: {ROOM}.*ONNX_PIPELINE_ARTIFACTS"):
        FolderFiles(disk).keep("model.onnx", bytes(LARGE.nbytes))
    assert left(disk) == []


def fill(pool):
    with pool.connect("filling", create=True) as connection:
        connection.register("large", pa.Table.from_batches([LARGE]))
        connection.execute("CREATE TABLE t AS FROM large").fetchall()


def test_the_pool(disk):
    pool = DuckDBPool(disk / "pool.duckdb")
    with pytest.raises(PoolError, match=r"No space left on device\. .+ of 1 MB are free on it\. Free space there"):
        fill(pool)


def insert(pool, wide, done):
    with pool.connect("loading") as connection, transaction(connection):
        # Fewer rows than DuckDB writes on the way (a row group), and more bytes than it takes into its log.
        connection.register("large", pa.Table.from_batches([LARGE.slice(0, 100_000)]))
        connection.execute(f"INSERT INTO t SELECT {wide} FROM large").fetchall()
        done.append("insert")


def count(pool):
    with pool.connect("counting") as connection:
        return connection.execute("SELECT count(*) FROM t").fetchall()[0][0]


def test_a_commit_that_goes_into_the_pools_file_at_once(disk):
    pool = DuckDBPool(disk / "pool.duckdb")
    wide = ", ".join(f"score * {factor} AS score_{factor}" for factor in range(1, 8))
    with pool.connect("filling", create=True) as connection:
        connection.register("large", pa.Table.from_batches([LARGE.slice(0, 100)]))
        connection.execute(f"CREATE TABLE t AS SELECT {wide} FROM large").fetchall()
    done = []
    with pytest.raises(PoolError, match=r"No space left on device\. .+ of 1 MB are free on it\. Free space there"):
        insert(pool, wide, done)
    assert done == ["insert"], "it is the commit that fails"
    assert count(pool) == 100
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    insert(pool, wide, done)
    assert count(pool) == 100_100
    # Written once: with a log of it there would not have been room.
    assert not (disk / "pool.duckdb.wal").exists()
