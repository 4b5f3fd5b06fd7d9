"""What ended runs left in Blob goes; what a run that Dagster calls unfinished has there stays, however old it is."""

import datetime

import dagster as dg
import pyarrow as pa
import pytest
from dagster import DagsterRunStatus

from onnx_pipeline.orchestration.run_history import unfinished_runs
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.synapse import blob_folder as staging_blob
from onnx_pipeline.pools.synapse.blob_folder import BlobStaging
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline_tests.dagster.conftest import (  # noqa: F401 - fixtures
    DAYS,
    instance,
    make_spec,
    no_waiting,
    project,
    runner,
)
from onnx_pipeline_tests.pools.conftest import ADDRESS, load, rows_of, slice_of
from onnx_pipeline_tests.pools.imitation import ImitatedDriver, Server, Storage

TOMORROW = datetime.datetime.now(tz=datetime.timezone.utc) + datetime.timedelta(days=2)


@pytest.fixture
def run_of(instance):  # noqa: F811
    """`run_of(status)`: the id of a run that Dagster has in that status."""

    def make(status):
        job = dg.GraphDefinition(name="a_job").to_job()
        return instance.create_run_for_job(job, status=status).run_id

    return make


def test_unfinished_are_the_runs_that_may_still_do_something(instance, run_of):  # noqa: F811
    # One in the queue belongs to a code location, which this instance does not have; it holds no files yet.
    statuses = {run_of(status): status for status in set(DagsterRunStatus) - {DagsterRunStatus.QUEUED}}
    ended = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
    assert {statuses[run] for run in unfinished_runs(instance)} == set(statuses.values()) - ended


class Later(datetime.datetime):
    """A clock that is two days ahead: everything in Azurite is old."""

    @classmethod
    def now(cls, tz=None):
        return TOMORROW


def test_a_load_sweeps_what_ended_runs_left_and_touches_no_unfinished_one(
    storage,
    account,
    instance,  # noqa: F811
    run_of,
    tmp_path,
    monkeypatch,
):
    staging = BlobStaging(account, "staging", "onnx")
    going, failed, ours = (
        run_of(status) for status in (DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE, DagsterRunStatus.STARTED)
    )
    rows = pa.table({"id": [1]})
    for scoring, run, partition in [
        ("scoring", going, "2026-01-01"), ("scoring", failed, "2026-01-01"), ("extract", failed, "onnx_extract_0"),
        ("scoring", ours, "2025-12-31"),
    ]:  # fmt: skip
        staging.folder(scoring, run, 1, partition).write(rows.to_reader())

    class Staging(Storage):
        """Slices on this disk, from where the imitated server copies them; swept is the real staging."""

        def sweep(self, hours, unfinished):
            with monkeypatch.context() as patch:
                patch.setattr(staging_blob.datetime, "datetime", Later)
                return staging.sweep(hours, unfinished)

    server = Server(storage=tmp_path)
    pool = SynapsePool(ADDRESS, driver=ImitatedDriver(server), staging=Staging(tmp_path), account=account)
    load(pool, slice_of(rows_of(0, 5, 1.0)))
    assert len(storage.names()) == 4
    load(pool.for_run(ours, lambda: unfinished_runs(instance)), slice_of(rows_of(0, 5, 1.0), run_id=ours))
    assert storage.names() == sorted(
        staging.folder("scoring", run, 1, partition).path + "/part-00000.parquet"
        for run, partition in [(going, "2026-01-01"), (ours, "2025-12-31")]
    )


def test_the_assets_tell_the_pool_which_run_they_belong_to(project, make_spec, runner, monkeypatch):  # noqa: F811
    told = []

    def for_run(self, run_id, unfinished):
        told.append((run_id, frozenset(unfinished())))
        return self

    monkeypatch.setattr(DuckDBPool, "for_run", for_run)
    result = runner.run(make_spec(), partition=DAYS[0])
    assert result.success
    # The run itself is unfinished while it works: once for each of its four assets.
    assert told == [(result.run_id, frozenset({result.run_id}))] * 4
