"""Parts of a slice in Azure Blob: tasks of Spark read and write them by themselves, signed in as everything else."""

import io
import uuid
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.cluster.files import files_at
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parquet_parts import ParquetParts, check_written, plan_parts
from onnx_pipeline.cluster.shipping import package
from onnx_pipeline.cluster.spark import carry_out
from onnx_pipeline.cluster.work import settled
from onnx_pipeline.engines.spark.session import session
from onnx_pipeline_tests.azure.azurite import KEY
from onnx_pipeline_tests.azure.conftest import Storage
from onnx_pipeline_tests.engines.parity import CASES, NUMBERS, Scored
from onnx_pipeline_tests.pools.grounds import DuckDBGround

FEATURES, PREDICTIONS = "az://staging/slice/features", "az://staging/slice/predictions"
COUNT, GROUP = 20_000, 2_500


@pytest.fixture
def table() -> pa.Table:
    generator = np.random.default_rng(5)
    columns = {name: generator.normal(size=COUNT).astype(np.float32) for name in NUMBERS}
    return pa.table({"id": np.arange(COUNT), **columns})


def put(storage: Storage, name: str, table: pa.Table) -> None:
    held = io.BytesIO()
    pq.write_table(table, held, row_group_size=GROUP)
    storage.put(f"slice/features/{name}", held.getvalue(), "staging")


def predictions(storage: Storage, name: str) -> pa.Table:
    blob = storage.client.get_blob_client("staging", f"slice/predictions/{name}")
    return pq.read_table(io.BytesIO(blob.download_blob().readall()))


@pytest.fixture
def order(storage: Storage, table: pa.Table, tmp_path: Path) -> Order:
    """A tree over two files of four row groups each, in tasks of two groups."""
    half = COUNT // 2
    put(storage, "one.parquet", table.slice(0, half))
    put(storage, "two.parquet", table.slice(half))
    ground = DuckDBGround(tmp_path)
    ground.store("rows", table.slice(0, 1).append_column("part", pa.array(["p"])))
    one = Scored(ground, tmp_path / "staging", CASES["tree"], {"kind": "spark"})
    task, model = one.plan.task, one.case.model()
    plan = plan_parts(FEATURES, PREDICTIONS, ["one.parquet", "two.parquet"], most=2 * GROUP, wanted=1)
    return Order(model.describe(), task.binding, task.outputs, task.nulls, (), ["id"], model.options, plan)


def test_tasks_of_spark_score_blobs_into_blobs(
    order: Order, storage: Storage, table: pa.Table, spark_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", "local[2]")
    assert len(order.plan.parts) == 4 and KEY not in order.to_json()
    # The one session of this process has workers of before there was an account.
    session().stop()
    model = CASES["tree"].model()
    try:
        answers = carry_out(session(), order, model.normalised, package(), on_tasks=lambda done, total: None)
    finally:
        session().stop()
    written = settled(answers, 4)
    check_written(PREDICTIONS, written)
    assert {f"slice/predictions/{one.name}" for one in written} == {
        name for name in storage.names() if "predictions" in name
    }
    found = pa.concat_tables([predictions(storage, one.name) for one in written])
    assert found["id"].to_pylist() == list(range(COUNT))
    matrix = np.column_stack([table[name].to_numpy() for name in order.binding.columns])
    plain = ort.InferenceSession(CASES["tree"].make())
    (truth,) = plain.run([order.outputs[0].output], {plain.get_inputs()[0].name: matrix})
    np.testing.assert_allclose(found.column(1).to_numpy(), truth.ravel(), rtol=1e-5)


def test_a_part_in_a_blob_is_byte_for_byte_what_a_folder_holds(
    storage: Storage, table: pa.Table, tmp_path: Path
) -> None:
    put(storage, "one.parquet", table)
    (tmp_path / "features").mkdir()
    pq.write_table(table, tmp_path / "features" / "one.parquet", row_group_size=GROUP)
    here = {"features": str(tmp_path / "features"), "predictions": str(tmp_path / "predictions")}
    written = []
    for options in (here, {"features": FEATURES, "predictions": PREDICTIONS}):
        parts = ParquetParts(options)
        batches = list(parts.read({"file": "one.parquet", "groups": [1, 3]}, ["id", "a"], 1_000))
        written.append(parts.write("part", batches[0].schema, batches))
    assert written[0] == written[1]
    on_disk = (tmp_path / "predictions" / "part.parquet").read_bytes()
    blob = storage.client.get_blob_client("staging", "slice/predictions/part.parquet")
    assert blob.download_blob().readall() == on_disk
    assert predictions(storage, "part.parquet")["id"].to_pylist() == list(range(GROUP, 3 * GROUP))


def test_a_task_that_fails_on_its_way_leaves_no_blob(storage: Storage, table: pa.Table) -> None:
    def broken() -> object:
        yield from table.to_batches(1_000)[:3]
        raise RuntimeError("the worker is gone")

    with pytest.raises(RuntimeError, match="the worker is gone"):
        ParquetParts({"features": FEATURES, "predictions": PREDICTIONS}).write("part", table.schema, broken())
    assert storage.names() == []


def test_what_somebody_changed_since_or_removed_is_not_loaded(storage: Storage, table: pa.Table) -> None:
    written = ParquetParts({"features": FEATURES, "predictions": PREDICTIONS}).write(
        f"part-{uuid.uuid4().hex}", table.schema, table.to_batches()
    )
    check_written(PREDICTIONS, [written])
    storage.put(f"slice/predictions/{written.name}", b"PAR1", "staging")
    with pytest.raises(StagingError, match=f"{written.name} in {PREDICTIONS} is not the file of 20,000 predictions"):
        check_written(PREDICTIONS, [written])
    with pytest.raises(StagingError, match=f"files in {PREDICTIONS}"):
        files_at(PREDICTIONS).size("gone.parquet")
