"""Staged slices: whole or not at all, whoever reads or dies meanwhile."""

import os
import time

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.scoring.staging import Staging

SCHEMA = pa.schema([("id", pa.int64())])


def batch(*ids):
    return pa.record_batch([pa.array(ids, pa.int64())], schema=SCHEMA)


def put(staging, key, *ids, stage="features", **facts):
    with staging.writer("s", stage, key, SCHEMA) as writer:
        writer.write(batch(*ids))
        return writer.commit(facts)


def ids(staging, key, stage="features"):
    with staging.open("s", stage, key) as (_, reader):
        return reader.read_all()["id"].to_pylist()


def files(staging_folder):
    return sorted(path.name for path in staging_folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(project_home):
    return project_home / "data" / "staging"


def test_what_was_staged_comes_back_with_its_facts(staging):
    put(staging, "2026-01-01", 1, 2, rows=2, schema=[["id", "int64"]])
    with staging.open("s", "features", "2026-01-01") as (staged, reader):
        assert reader.schema == SCHEMA
        assert reader.read_all()["id"].to_pylist() == [1, 2]
    assert staged.facts == {"rows": 2, "schema": [["id", "int64"]], "bytes": staged.file.stat().st_size}


def test_stages_partitions_and_scorings_do_not_mix(staging):
    put(staging, "a", 1)
    put(staging, "a", 2, stage="predictions")
    put(staging, "b", 3)
    assert [ids(staging, "a"), ids(staging, "a", "predictions"), ids(staging, "b")] == [[1], [2], [3]]
    with pytest.raises(StagingError):
        staging.find("another", "features", "a")


def test_staging_again_replaces_the_slice_and_leaves_one_file(staging, folder):
    for value in range(5):
        put(staging, "a", value)
    assert ids(staging, "a") == [4]
    assert len(files(folder)) == 2


def test_a_reader_keeps_the_slice_that_it_opened_while_another_is_written(staging):
    put(staging, "a", *range(1000))
    with staging.open("s", "features", "a") as (_, reader):
        put(staging, "a", 7)
        assert reader.read_all()["id"].to_pylist() == list(range(1000))
    assert ids(staging, "a") == [7]


def test_nothing_is_seen_before_the_commit(staging):
    put(staging, "a", 1)
    with staging.writer("s", "features", "a", SCHEMA) as writer:
        writer.write(batch(2, 3))
        assert ids(staging, "a") == [1]
        writer.commit({})
    assert ids(staging, "a") == [2, 3]


def test_a_writer_that_fails_leaves_the_old_slice_and_no_file(staging, folder):
    put(staging, "a", 1)
    before = files(folder)

    def fail_half_way():
        with staging.writer("s", "features", "a", SCHEMA) as writer:
            writer.write(batch(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert ids(staging, "a") == [1]
    assert files(folder) == before


def test_a_writer_that_commits_nothing_leaves_nothing(staging, folder):
    with staging.writer("s", "features", "a", SCHEMA) as writer:
        writer.write(batch(2))
    assert files(folder) == []
    with pytest.raises(StagingError):
        staging.find("s", "features", "a")


def test_a_slice_without_rows_is_a_slice(staging):
    with staging.writer("s", "features", "a", SCHEMA) as writer:
        writer.commit({"rows": 0})
    assert ids(staging, "a") == []


@pytest.mark.parametrize(
    ("stage", "together"),
    [("features", "Materialize features of s"), ("predictions", "Materialize features and predictions of s")],
)
def test_what_is_missing_says_what_to_materialize(staging, stage, together):
    with pytest.raises(StagingError) as raised:
        staging.find("s", stage, "2026-01-01")
    message = str(raised.value)
    assert f"no {stage} of partition '2026-01-01' lie in staging" in message
    assert "swept after 24 hours" in message
    assert f"{together} for that partition together with this asset" in message


def test_a_manifest_whose_file_is_gone_counts_as_missing(staging):
    put(staging, "a", 1).file.unlink()
    with pytest.raises(StagingError, match="no features of partition 'a'"):
        staging.find("s", "features", "a")


def test_sweeping_takes_what_is_old_and_leaves_what_is_not(staging, folder):
    old, new = put(staging, "old", 1), put(staging, "new", 2)
    day_ago = time.time() - 25 * 3600
    for file in old.file.parent.iterdir():
        os.utime(file, (day_ago, day_ago))
    orphan = new.file.with_name("0" * 32 + ".arrow")
    orphan.write_bytes(b"a writer died")
    os.utime(orphan, (day_ago, day_ago))
    assert staging.sweep() == 2
    assert ids(staging, "new") == [2]
    assert not old.file.exists()
    assert not orphan.exists()
    with pytest.raises(StagingError):
        staging.find("s", "features", "old")
    assert staging.sweep() == 0


def test_how_long_slices_are_kept_is_configured(folder):
    staging = Staging(folder, keep_hours=0.5)
    staged = put(staging, "a", 1)
    hour_ago = time.time() - 3600
    os.utime(staged.file, (hour_ago, hour_ago))
    staging.sweep()
    with pytest.raises(StagingError, match=r"swept after 0\.5 hours"):
        staging.find("s", "features", "a")


def test_sweeping_a_folder_that_does_not_exist_yet(staging):
    assert staging.sweep() == 0


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    keys=st.lists(
        KEYS | st.sampled_from([".", "..", "a/b", "a:b", "../../x", "", "_", "zürich", "CON"]), unique=True, max_size=6
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_is_a_folder_of_its_own_inside_staging(staging, folder, keys):
    folder.mkdir(parents=True, exist_ok=True)
    before = {path for path in folder.parent.rglob("*") if folder not in path.parents}
    for number, key in enumerate(keys):
        put(staging, key, number)
    assert [ids(staging, key) for key in keys] == [[number] for number in range(len(keys))]
    assert {path for path in folder.parent.rglob("*") if folder not in path.parents} == before


def test_many_partitions_of_one_writer_at_once(staging):
    writers = {key: staging.writer("s", "features", key, SCHEMA) for key in map(str, range(64))}
    for key, writer in writers.items():
        writer.write(batch(int(key)))
    for writer in writers.values():
        with writer:
            writer.commit({})
    assert [ids(staging, key) for key in writers] == [[number] for number in range(64)]
