"""Models whose graph does not take any number of rows, over every wire; the truth is plain ONNX Runtime row by row."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.serving.conftest import Open, table_of

ROWS = np.float32([[1, 2], [1e4, -3], [0.5, 0.25], [7, 7], [-1, 0]])


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("make", [models.squeezed, models.quantised])
def test_every_wire_gives_each_row_its_answer(
    open_service: Open, tmp_path: Path, make: Callable[[], bytes], count: int
) -> None:
    (tmp_path / "m.onnx").write_bytes(make())
    service, rows = open_service(tmp_path), ROWS[:count]
    truth = pytest.approx(models.one_by_one(make(), rows), rel=1e-5)

    records = [{"x_0": float(first), "x_1": float(second)} for first, second in rows]
    assert [record["y"] for record in service.score("m", records).json()] == truth
    data = service.score("m", {"input_data": {"data": rows.tolist()}}).json()["output_data"]["data"]
    assert [row[0] for row in data] == truth

    table = pa.table({"x_0": rows[:, 0].copy(), "x_1": rows[:, 1].copy()})
    assert table_of(service.arrow("m", table).content)["y"].to_pylist() == truth

    tensor = {"name": "x", "datatype": "FP32", "shape": [count, 2]}
    (output,) = service.post("/v2/models/m/infer", json={"inputs": [{**tensor, "data": rows.ravel().tolist()}]}).json()[
        "outputs"
    ]
    assert output["shape"] == [count] and output["data"] == truth

    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": rows.nbytes}}]}).encode()
    binary = service.post(
        "/v2/models/m/infer",
        content=head + rows.tobytes(),
        headers={"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"},
    ).json()
    assert binary["outputs"][0]["shape"] == [count] and binary["outputs"][0]["data"] == truth
