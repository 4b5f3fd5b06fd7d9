"""A slice's Parquet files in Azurite, read back by pyarrow alone."""

import datetime
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.pools.synapse import blob_folder as staging_blob
from onnx_pipeline.pools.synapse.blob_folder import BlobStaging

PARTITION = "2026-01-03"


@pytest.fixture
def staging(account):
    return BlobStaging(account, "staging", "onnx")


@pytest.fixture
def folder(staging):
    return staging.folder("visits", "run-1", 1, PARTITION)


def slice_of(rows, batch=1000):
    """`rows` rows of id, score, ward and a time, in batches."""
    numbers = np.arange(rows)
    table = pa.table(
        {
            "id": numbers,
            "score": np.random.default_rng(1).normal(size=rows).astype(np.float32),
            "ward": pa.array([None if number % 7 == 0 else f"ward {number % 5}" for number in numbers], pa.string()),
            "seen": pa.array(numbers * 1000, pa.timestamp("us")),
        }
    )
    return table, pa.RecordBatchReader.from_batches(table.schema, table.to_batches(batch))


def stored(storage, paths):
    """The files, as pyarrow reads them from memory."""
    contents = [storage.client.get_blob_client("staging", path).download_blob().readall() for path in paths]
    return [pq.ParquetFile(io.BytesIO(content)) for content in contents]


def test_a_slice_comes_back_as_it_was_written(storage, folder):
    table, reader = slice_of(5000)
    (file,) = folder.write(reader)
    assert file.path == "onnx/visits/run-1-1/2026-01-03/part-00000.parquet"
    assert file.url == f"{storage.url}/staging/{file.path}"
    assert file.rows == 5000
    (parquet,) = stored(storage, [file.path])
    assert parquet.read().equals(table)
    assert parquet.metadata.row_group(0).column(0).compression == "SNAPPY"
    with folder.read() as read:
        assert read.schema.equals(table.schema)
        assert read.read_all().equals(table)


def test_a_long_slice_is_cut_into_row_groups_and_files(storage, folder, monkeypatch):
    monkeypatch.setattr(staging_blob, "_GROUP_ROWS", 2000)
    table, reader = slice_of(9500)
    files = folder.write(reader, file_bytes=50_000)
    assert [file.rows for file in files] == [4000, 4000, 1500]
    assert [file.path.rpartition("/")[2] for file in files] == [f"part-0000{index}.parquet" for index in range(3)]
    parquets = stored(storage, folder.files())
    assert [parquet.num_row_groups for parquet in parquets] == [2, 2, 1]
    assert [file.size for file in files] == [
        storage.client.get_blob_client("staging", path).get_blob_properties().size for path in folder.files()
    ]
    with folder.read() as read:
        assert read.read_all().combine_chunks().equals(table.combine_chunks())


def test_a_file_of_many_blocks_is_whole(storage, folder, monkeypatch):
    from onnx_pipeline.azure import blob_io

    monkeypatch.setattr(blob_io, "_BLOCK_BYTES", 1000)
    table, reader = slice_of(5000)
    (file,) = folder.write(reader)
    assert file.size > 20_000
    assert stored(storage, [file.path])[0].read().equals(table)


def test_a_slice_without_rows_is_a_file_without_rows(folder):
    table, reader = slice_of(0)
    (file,) = folder.write(reader)
    assert file.rows == 0
    with folder.read() as read:
        assert read.read_all().equals(table)


def test_nanoseconds_are_cut_to_what_the_pool_reads(storage, folder):
    table = pa.table({"seen": pa.array([1_000_000_001_999], pa.timestamp("ns"))})
    (file,) = folder.write(table.to_reader())
    (parquet,) = stored(storage, [file.path])
    assert parquet.read()["seen"].cast(pa.int64()).to_pylist() == [1_000_000_001]


def test_what_an_attempt_of_the_same_name_left_is_gone(storage, folder):
    storage.put(f"{folder.path}/part-00007.parquet", b"leftover", container="staging")
    folder.write(slice_of(10)[1])
    assert storage.names() == [f"{folder.path}/part-00000.parquet"]


def test_a_write_that_fails_leaves_no_file(storage, folder):
    table, _ = slice_of(3000)

    def batches():
        yield from table.to_batches(1000)
        raise RuntimeError("the pool hung up")

    with pytest.raises(RuntimeError, match="hung up"):
        folder.write(pa.RecordBatchReader.from_batches(table.schema, batches()))
    assert storage.names() == []


def test_deleting_touches_no_neighbour(storage, staging, folder):
    neighbours = [
        staging.folder("visits", "run-1", 1, f"{PARTITION}0"),
        staging.folder("visits", "run-1", 11, PARTITION),
    ]
    for place in (folder, *neighbours):
        place.write(slice_of(10)[1])
    assert folder.delete() == 1
    assert folder.delete() == 0
    assert len(storage.names()) == len(neighbours)
    assert folder.files() == []


def test_extracted_files_of_any_name_are_read_without_those_that_the_pool_skips(storage, folder):
    content = io.BytesIO()
    table, _ = slice_of(10)
    pq.write_table(table, content)
    for name in ("QID123_1.parquet", "QID123_2.parquet", "_SUCCESS", ".crc"):
        storage.put(
            f"{folder.path}/{name}", content.getvalue() if name.endswith("parquet") else b"", container="staging"
        )
    with folder.read() as read:
        assert read.read_all().num_rows == 20


def test_blobs_that_stand_for_folders_hold_no_rows(storage, folder):
    table, reader = slice_of(1000)
    (file,) = folder.write(reader)
    storage.put_folder(folder.path, "staging")
    storage.put_folder(f"{folder.path}/part-00001.parquet", "staging")
    storage.put(f"{folder.path}/sub/", b"", "staging")
    assert folder.files() == [file.path]
    with folder.read() as read:
        assert read.read_all().equals(table)
    assert folder.delete() == 3
    assert storage.names() == [folder.path]


def test_a_missing_and_a_damaged_slice_say_what_to_do(storage, folder):
    with pytest.raises(StagingError, match="Run the partition again"), folder.read():
        pass
    storage.put(f"{folder.path}/part-00000.parquet", b"no Parquet", container="staging")
    with pytest.raises(StagingError, match=r"is no whole Parquet.*run the partition again"), folder.read():
        pass


def test_a_file_swept_while_it_is_read_is_an_error(storage, folder, monkeypatch):
    monkeypatch.setattr(staging_blob, "_GROUP_ROWS", 2000)
    folder.write(slice_of(9500)[1], file_bytes=50_000)
    with folder.read() as read:
        read.read_next_batch()
        folder.delete()
        with pytest.raises(StagingError, match=r"no such blob|replaced or removed"):
            read.read_all()


def test_an_error_of_whoever_reads_is_his_own(folder):
    folder.write(slice_of(10)[1])
    with pytest.raises(pa.ArrowInvalid, match="his"), folder.read():
        raise pa.ArrowInvalid("his")


def test_a_container_that_does_not_exist_is_named(account):
    with pytest.raises(StagingError, match="no such container"):
        BlobStaging(account, "nowhere").folder("visits", "run", 1, "all").write(slice_of(1)[1])


@pytest.mark.parametrize(
    "partition", ["all", "2026-01-03-14:00", "a/b", "..", ".hidden", "_x", "Männer & Frauen 100%", "", "a'b*"]
)
def test_any_partition_has_a_path_that_nothing_escapes_and_the_pool_does_not_skip(storage, staging, partition):
    place = staging.folder("visits", "run", 1, partition)
    place.write(slice_of(1)[1])
    assert storage.names() == [f"{place.path}/part-00000.parquet"]
    assert place.url == f"{storage.url}/staging/{place.path}"
    assert not place.path.rpartition("/")[2].startswith(("_", "."))
    assert set(place.path) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~/")


def test_different_partitions_have_different_paths(staging):
    texts = ["_", "~5f", "a_", "a~5f", "", "~", "a/b", "a~2fb", "é", "e"]
    assert len({staging.folder("visits", "run", 1, text).path for text in texts}) == len(texts)


def test_both_endpoints_are_known():
    place = BlobStaging(BlobAccount("https://wards.blob.core.windows.net"), "staging").folder("visits", "run", 2, "all")
    path = "staging/onnx_pipeline/visits/run-2/all"
    assert place.url == f"https://wards.blob.core.windows.net/{path}"
    assert place.dfs_url == f"https://wards.dfs.core.windows.net/{path}"


def test_a_sweep_removes_what_ended_runs_left_and_nothing_else(storage, staging):
    for run, attempt, partition in [("ended", 1, "a"), ("ended", 2, "b"), ("going", 1, "a"), ("go", 1, "a")]:
        staging.folder("visits", run, attempt, partition).write(slice_of(1)[1])
    storage.put("onnx/README.md", b"somebody's", container="staging")
    storage.put("onnx/visits/notes.parquet", b"somebody's", container="staging")
    storage.put("onnx_pipeline/visits/ended-1/a/part-00000.parquet", b"another area's", container="staging")
    tomorrow = datetime.datetime.now(tz=datetime.timezone.utc) + datetime.timedelta(days=1)
    assert staging.sweep(48, list, now=tomorrow) == 0
    assert staging.sweep(12, lambda: ["going"], now=tomorrow) == 3
    assert storage.names() == [
        "onnx/README.md",
        "onnx/visits/going-1/a/part-00000.parquet",
        "onnx/visits/notes.parquet",
        "onnx_pipeline/visits/ended-1/a/part-00000.parquet",
    ]
    assert staging.sweep(12, list, now=tomorrow) == 1


def test_a_folder_with_one_young_file_is_young(storage, staging, monkeypatch):
    """A long run stages its first partition hours before its last."""
    staging.folder("visits", "run", 1, "first").write(slice_of(1)[1])
    between = datetime.datetime.now(tz=datetime.timezone.utc)
    import time

    time.sleep(1.1)  # Last-Modified counts whole seconds
    staging.folder("visits", "run", 1, "last").write(slice_of(1)[1])
    hour = datetime.timedelta(hours=1)
    assert staging.sweep(1, list, now=between.replace(microsecond=0) + hour + datetime.timedelta(seconds=1)) == 0
    assert len(storage.names()) == 2


def test_the_runs_are_asked_for_after_the_files_were_seen(storage, staging):
    """A run that begins while the sweep looks has only young files, which it does not see at all."""
    staging.folder("visits", "old", 1, "all").write(slice_of(1)[1])
    tomorrow = datetime.datetime.now(tz=datetime.timezone.utc) + datetime.timedelta(days=1)

    def a_run_begins():
        staging.folder("visits", "new", 1, "all").write(slice_of(1)[1])
        return []

    assert staging.sweep(1, a_run_begins, now=tomorrow) == 1
    assert storage.names() == ["onnx/visits/new-1/all/part-00000.parquet"]


def test_an_area_is_named_by_a_uri(storage):
    place = BlobStaging.at("az://staging/some/where").folder("visits", "run", 1, "all")
    assert place.url == f"{storage.url}/staging/some/where/visits/run-1/all"
