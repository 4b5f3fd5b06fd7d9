"""Runs that meet in staging: two writers of one slice, a sweep during a read, a model that is replaced in mid-run."""

import os
import threading
import time

import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.records import Source
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline_tests.faults.ward import WARDS, Ward, ignore

SCHEMA = pa.schema([("writer", pa.int64())])
ROWS = 500


def _write(staging: Staging, writer: int) -> None:
    with staging.writer("s", "features", "k", SCHEMA) as slot:
        for _ in range(3):
            slot.write(pa.record_batch([pa.array([writer] * ROWS)], schema=SCHEMA))
        slot.commit({"writer": writer})


def test_readers_see_whole_slices_and_never_none_while_several_write_the_same_one(project_home) -> None:
    staging = Staging(project_home / "staging")
    _write(staging, 0)
    over, failures = threading.Event(), []

    def guarded(work) -> None:
        try:
            while not over.is_set():
                work()
        except Exception as error:  # noqa: BLE001 - told below, in the test's own thread
            failures.append(error)

    def look() -> None:
        with staging.open("s", "features", "k") as (staged, reader):
            assert reader.read_all()["writer"].to_pylist() == [staged.facts["writer"]] * ROWS * 3

    threads = [threading.Thread(target=guarded, args=(look,)) for _ in range(2)]
    threads += [threading.Thread(target=guarded, args=(lambda n=n: _write(staging, n),)) for n in range(1, 4)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_sweep_takes_nothing_from_a_reader(project_home) -> None:
    staging = Staging(project_home / "staging", keep_hours=1)
    _write(staging, 7)
    with staging.open("s", "features", "k") as (staged, reader):
        first = reader.read_next_batch()
        os.utime(staged.file, (0, 0))
        assert staging.sweep() == 1
        assert first.num_rows + reader.read_all().num_rows == 3 * ROWS


def _predict(ward: Ward, model: str, keys) -> None:
    plan = ward.plan("replace", model)
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions())
    for key in keys:
        predict(plan, engine, ward.staging, key, say=ignore)


def test_wards_staged_anew_by_another_run_while_they_are_loaded_are_whole_and_name_their_model(ward: Ward) -> None:
    plan = ward.plan("replace", "first")
    list(extract(plan, ward.pool, ward.staging, WARDS, say=ignore))
    _predict(ward, "first", WARDS)
    for number, _ in enumerate(load(plan, ward.pool, ward.staging, WARDS, run_id="slow")):
        if number == 0:
            # Each file that this load has seen is replaced.
            _other(ward)
    ward.assert_whole("replace")
    models = dict(ward.query("SELECT DISTINCT partition_key, model_sha256 FROM scores_replace"))
    assert models == {"east": ward.sha256("first")} | dict.fromkeys(WARDS[1:], ward.sha256("second"))


def _other(ward: Ward) -> None:
    """Another run, as far as it gets while the first one holds the pool."""
    plan = _plan_of_the_second_model(ward)
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions())
    for key in WARDS:
        predict(plan, engine, ward.staging, key, say=ignore)


def _plan_of_the_second_model(ward: Ward):
    schema = ward.visits().schema
    source = Source("visits", schema, sa.table("visits", *(sa.column(name) for name in schema.names)))
    return ScoringPlan(ward.spec("replace"), OnnxModel.load(str(ward.model_file("second"))), source)


def test_a_model_file_replaced_in_mid_run_leaves_every_row_with_the_model_that_scored_it(ward: Ward) -> None:
    plan = ward.plan("replace", "first")
    sha256 = ward.sha256("first")
    list(extract(plan, ward.pool, ward.staging, WARDS, say=ignore))
    engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions())
    for number, key in enumerate(WARDS):
        if number == 2:
            ward.model_file("first").write_bytes(ward.model_file("second").read_bytes())
        predict(plan, engine, ward.staging, key, say=ignore)
    list(load(plan, ward.pool, ward.staging, WARDS, run_id="steady"))
    assert ward.query("SELECT DISTINCT model_sha256 FROM scores_replace") == [(sha256,)]
    assert ward.query("SELECT DISTINCT model_sha256 FROM onnx_scoring_log") == [(sha256,)]
    mean = ward.query("SELECT avg(score) FROM scores_replace WHERE partition_key = 'west'")[0][0]
    truth = ward.visits().slice(60_000)
    wanted = 0.5 * truth["age"].to_numpy() - 0.25 * truth["pulse"].to_numpy() + 2.0 * truth["oxygen"].to_numpy()
    assert abs(mean - wanted.mean()) < 1e-5
