"""Slices of one row and of more than a batch, by models that do not take any number of rows."""

import numpy as np
import pytest

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.extension import models


@pytest.mark.parametrize("make", [models.squeezed, models.quantised])
def test_each_row_lands_with_its_own_answer_however_it_is_partitioned(sql, score, pool, make):
    rows = np.random.default_rng(5).normal(size=(40, 2)).astype(np.float32)
    rows[7] *= 1e4
    truth = models.one_by_one(make(), rows)
    sql("CREATE TABLE events (id BIGINT, site VARCHAR, a REAL, b REAL)")
    for number, (first, second) in enumerate(rows.tolist()):
        site = "lonely" if number == 3 else "north" if number % 2 else "south"
        sql("INSERT INTO events VALUES (?, ?, ?, ?)", [number, site, first, second])
    for target, partitions in (
        ("whole", "none"),
        ("sites", {"column": "site", "values": ["lonely", "north", "south"]}),
    ):
        spec = ScoringSpec(
            name=target, onnx="m", source={"table": "events"}, key=["id"], features=["a", "b"], target=target,
            partitions=partitions,
        )  # fmt: skip
        score(spec, OnnxModel.from_bytes(make()))
        found = [answer for _, answer in sql(f"SELECT id, y FROM {target} ORDER BY id")]
        assert found == pytest.approx(truth, rel=1e-5)


def test_the_slice_says_that_rows_run_one_at_a_time():
    from onnx_pipeline.engines import open_engine
    from onnx_pipeline.engines.base import Task
    from onnx_pipeline.models import RuntimeOptions
    from onnx_pipeline.models.outputs import output_columns
    from onnx_pipeline.spec.engines.onnxruntime import OnnxRuntimeOptions

    for make, shown in ((models.quantised, {"model_runs": "one row at a time"}), (lambda: models.matrix_sum(2), {})):
        model = OnnxModel.from_bytes(make())
        task = Task(model, model.bind(["a", "b"]), output_columns(model.signature))
        assert open_engine(OnnxRuntimeOptions(kind="onnxruntime"), task, RuntimeOptions()).facts() == shown
