"""Columns of a source that are named as what stands beside its rows on their way: features are, keys and outputs not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline_tests.engines.parity import Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import DuckDBGround

FEATURES = ["id", "__changed", "__partition", "__Nulls_0", "__misfits_0", "__place__", "id (feature)"]
WEIGHTS = np.arange(1, 8, dtype=np.float32) * 1000


def weighted() -> bytes:
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "weighted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(FEATURES)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(WEIGHTS.reshape(-1, 1), "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def ground(tmp_path: Path) -> DuckDBGround:
    ground = DuckDBGround(tmp_path)
    table = rows(12, gaps=False).select(["id", "part"])
    for place, name in enumerate(FEATURES[1:]):
        table = table.append_column(name, pa.array([float(place + 2 * k) for k in range(12)], pa.float32()))
    ground.store("rows", table.append_column("at", pa.array(range(12), pa.int64())))
    return ground


@pytest.mark.parametrize("kind", ["onnxruntime", "sql"])
def test_as_features_they_are_what_they_are(kind: str, ground: DuckDBGround, tmp_path: Path) -> None:
    attributes = {"source": {"table": "rows", "changed": "at"}}
    Scored(ground, tmp_path / kind, Case(weighted, FEATURES, attributes=attributes), {"kind": kind}).run()
    found = dict(ground.query("SELECT id, y FROM scored"))
    assert found == {k: float(WEIGHTS @ [k, *(place + 2 * k for place in range(6))]) for k in range(12)}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"key": ["__changed"]}, "key: the name '__changed' is kept for what stands beside rows"),
        ({"outputs": {"__NULLS_0": "y"}}, r"the name '__NULLS_0' is kept .* outputs: \{<column>: y\}"),
    ],
)
def test_as_keys_and_outputs_they_are_refused(
    attributes: dict[str, object], message: str, ground: DuckDBGround, tmp_path: Path
) -> None:
    with pytest.raises(SignatureError, match=message):
        _ = Scored(ground, tmp_path / "refused", Case(weighted, FEATURES, attributes=attributes), {"kind": "sql"}).plan
