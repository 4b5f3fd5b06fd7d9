"""Every wire to our own service gives what ONNX Runtime gives here, for every kind of column."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.base.errors import DataError, NullFeatureError, ServiceError
from onnx_pipeline.engines import Task, open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions, output_columns
from onnx_pipeline.spec.engines.remote import RemoteOptions
from onnx_pipeline_tests.engines.conftest import Server

WIRES = ("arrow", "records", "data", "input_data", "v2")
ROWS = 700


def mixed_model() -> bytes:
    """Inputs of each kind, one of them `[N, 3]`; outputs of each kind, one of them `[N, 3]`."""
    kinds = {
        "half": TensorProto.FLOAT16,
        "single": TensorProto.FLOAT,
        "double": TensorProto.DOUBLE,
        "small": TensorProto.INT8,
        "big": TensorProto.INT64,
        "unsigned": TensorProto.UINT32,
        "flag": TensorProto.BOOL,
        "ward": TensorProto.STRING,
    }
    inputs = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in kinds.items()]
    inputs.append(helper.make_tensor_value_info("plain", TensorProto.FLOAT, [None]))
    inputs.append(helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [None, 3]))
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, [None, 1]) for name, kind in kinds.items()]
    outputs.append(helper.make_tensor_value_info("plain_out", TensorProto.FLOAT, [None]))
    outputs.append(helper.make_tensor_value_info("matrix_out", TensorProto.FLOAT, [None, 3]))
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in (*kinds, "plain")]
    nodes.append(helper.make_node("Mul", ["matrix", "two"], ["matrix_out"]))
    graph = helper.make_graph(nodes, "mixed", inputs, outputs, [numpy_helper.from_array(np.float32([2.0]), "two")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


FEATURES = {"matrix": ["m1", "m2", "m3"]}


def rows() -> pa.RecordBatch:
    generator = np.random.default_rng(3)
    single = generator.normal(size=ROWS).astype(np.float32)
    single[5] = np.nan
    columns: dict[str, Any] = {
        "half": pa.array(generator.normal(size=ROWS).astype(np.float16)),
        "single": pa.array(single),
        "double": pa.array(generator.normal(size=ROWS) * 1e200),
        "small": pa.array(generator.integers(-128, 127, ROWS).astype(np.int8)),
        "big": pa.array(generator.integers(-(2**63), 2**63 - 1, ROWS)),
        "unsigned": pa.array(generator.integers(0, 2**32 - 1, ROWS).astype(np.uint32)),
        "flag": pa.array(generator.integers(0, 2, ROWS).astype(bool)),
        "ward": pa.array([('Zürich "7"\\', "", "北", "a,b\n")[index % 4] for index in range(ROWS)]),
        "plain": pa.array(generator.normal(size=ROWS).astype(np.float32), mask=np.arange(ROWS) == 7),
        "m1": pa.array(generator.normal(size=ROWS).astype(np.float32)),
        "m2": pa.array(generator.normal(size=ROWS).astype(np.float32)),
        "m3": pa.array(generator.normal(size=ROWS).astype(np.float32)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "mixed.onnx").write_bytes(mixed_model())
    return folder


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Server]:
    import json

    code = "from onnx_pipeline.cli import main; main()"
    command = ["-c", code, "serve", "--models", str(models), "--port", "0"]
    server = Server(command, lambda line: str(json.loads(line)["url"]))
    yield server
    server.end()


def scored(
    engine: RemoteOptions, model: OnnxModel, batches: list[pa.RecordBatch], **named: Any
) -> dict[str, list[Any]]:
    outputs = output_columns(model.signature, named.pop("outputs", None))
    binding = model.bind(FEATURES)
    with closing(
        open_engine(engine, Task(model, binding, outputs, named.get("nulls", {})), RuntimeOptions())
    ) as opened:
        pieces = list(opened.score(batches))
    assert [row for batch, _ in pieces for row in batch.column("big").to_pylist()] == [
        row for batch in batches for row in batch.column("big").to_pylist()
    ]
    for batch, arrays in pieces:
        assert [(len(array), array.type) for array in arrays] == [(batch.num_rows, column.arrow) for column in outputs]
    return {
        column.name: [row for _, arrays in pieces for row in arrays[index].to_pylist()]
        for index, column in enumerate(outputs)
    }


def truth(batch: pa.RecordBatch) -> dict[str, list[Any]]:
    """By ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(mixed_model(), providers=["CPUExecutionProvider"])
    feeds: dict[str, Any] = {}
    for given in session.get_inputs():
        if given.name == "matrix":
            feeds["matrix"] = np.column_stack([batch.column(name).to_numpy() for name in FEATURES["matrix"]])
            continue
        values = batch.column(given.name).to_numpy(zero_copy_only=False)
        feeds[given.name] = values if len(given.shape) == 1 else values.reshape(-1, 1)
    found = {}
    for output, values in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        if output.name == "matrix_out":
            found |= {f"matrix_out_{index}": values[:, index].tolist() for index in range(3)}
        else:
            found[output.name] = values.reshape(-1).tolist()
    return found


def equal(found: list[Any], expected: list[Any]) -> bool:
    """Equal to the last bit; NaN may come back as null, which is how JSON says it."""
    return len(found) == len(expected) and all(
        one == other or (other != other and (one is None or one != one))
        for one, other in zip(found, expected, strict=True)
    )


def url_of(service: Server, wire: str) -> str:
    return f"{service.url}/v2/models/mixed/infer" if wire == "v2" else f"{service.url}/models/mixed/score"


@pytest.mark.parametrize("wire", WIRES)
def test_every_kind_of_column_goes_and_comes_back_unchanged(wire: str, service: Server, models: Path) -> None:
    batch = rows()
    engine = RemoteOptions(kind="remote", url=url_of(service, wire), wire=wire, batch_rows=130, in_flight=3)
    found, expected = scored(engine, OnnxModel.load(models / "mixed.onnx"), [batch]), truth(batch)
    assert found.keys() == expected.keys()
    unequal = [name for name in expected if not equal(found[name], expected[name])]
    assert not unequal, [(name, found[name][:8], expected[name][:8]) for name in unequal]


@pytest.mark.parametrize("wire", WIRES)
def test_outputs_are_picked_renamed_and_reordered_as_the_spec_says(wire: str, service: Server, models: Path) -> None:
    batch = rows()
    engine = RemoteOptions(kind="remote", url=url_of(service, wire), wire=wire)
    chosen = {"doubled": "matrix_out", "place": "ward_out"}
    found = scored(engine, OnnxModel.load(models / "mixed.onnx"), [batch], outputs=chosen)
    expected = truth(batch)
    assert list(found) == ["doubled_0", "doubled_1", "doubled_2", "place"]
    assert equal(found["doubled_1"], expected["matrix_out_1"])
    assert found["place"] == expected["ward_out"]


@pytest.mark.parametrize("wire", WIRES)
def test_nulls_are_filled_by_what_the_spec_says(wire: str, service: Server, models: Path) -> None:
    batch = rows()
    big = pa.array([None if index % 5 == 0 else index for index in range(ROWS)], pa.int64())
    ward = pa.array([None if index % 3 == 0 else "x" for index in range(ROWS)])
    holed = batch.set_column(4, "big", big).set_column(7, "ward", ward)
    engine = RemoteOptions(kind="remote", url=url_of(service, wire), wire=wire)
    model = OnnxModel.load(models / "mixed.onnx")
    found = scored(engine, model, [holed], nulls={"big": -1, "ward": "unknown", "plain": 2.5})
    assert found["big_out"] == [-1 if index % 5 == 0 else index for index in range(ROWS)]
    assert found["ward_out"] == ["unknown" if index % 3 == 0 else "x" for index in range(ROWS)]
    assert found["plain_out"][7] == 2.5
    with pytest.raises(NullFeatureError, match="'big' has 140 NULL or NaN"):
        scored(engine, model, [holed], nulls={"ward": "unknown"})


@pytest.mark.parametrize("wire", WIRES)
def test_nan_travels_as_null_and_infinity_as_itself_or_not_at_all(wire: str, service: Server, models: Path) -> None:
    plain = pa.array([0.5, math.nan, None] * (ROWS // 3) + [0.5] * (ROWS % 3), pa.float32())
    batch = rows()
    place = batch.schema.get_field_index("plain")
    engine = RemoteOptions(kind="remote", url=url_of(service, wire), wire=wire)
    model = OnnxModel.load(models / "mixed.onnx")
    found = scored(engine, model, [batch.set_column(place, "plain", plain)], nulls={"plain": 2.5})
    assert found["plain_out"][:3] == [0.5, 2.5, 2.5]
    beyond = batch.set_column(place, "plain", pa.array([math.inf, *[0.5] * (ROWS - 1)], pa.float32()))
    if wire == "arrow":
        assert scored(engine, model, [beyond])["plain_out"][0] == math.inf
    else:
        with pytest.raises(DataError, match="'plain' holds infinity, for which JSON has no form.*wire: arrow"):
            scored(engine, model, [beyond])


def test_small_batches_travel_together_and_large_ones_in_parts(service: Server, models: Path) -> None:
    batch = rows()
    small = [batch.slice(start, 7) for start in range(0, 350, 7)]
    engine = RemoteOptions(kind="remote", url=url_of(service, "arrow"), batch_rows=100)
    model = OnnxModel.load(models / "mixed.onnx")
    task = Task(model, model.bind(FEATURES), output_columns(model.signature))
    with closing(open_engine(engine, task, RuntimeOptions())) as opened:
        pieces = list(opened.score([*small, batch.slice(350)]))
        facts = opened.facts()
    sizes = [piece.num_rows for piece, _ in pieces]
    assert max(sizes) <= 100 and facts["requests"] == len(sizes) == 8
    assert pa.Table.from_batches([piece for piece, _ in pieces])["big"].to_pylist() == batch["big"].to_pylist()


def test_an_empty_slice_asks_nobody(models: Path) -> None:
    engine = RemoteOptions(kind="remote", url="http://127.0.0.1:9/nobody")
    found = scored(engine, OnnxModel.load(models / "mixed.onnx"), [rows().slice(0, 0)])
    assert set(map(tuple, found.values())) == {()}


def test_a_service_that_holds_another_model_refuses(service: Server, models: Path) -> None:
    changed = OnnxModel.from_bytes(mixed_model() + b"\x32\x00")  # an empty doc string: other bytes, the same model
    engine = RemoteOptions(kind="remote", url=url_of(service, "arrow"))
    with pytest.raises(ServiceError, match=rf"serves another model than {changed.sha256}"):
        scored(engine, changed, [rows()])


def test_what_the_service_says_reaches_the_message(service: Server, models: Path) -> None:
    model = OnnxModel.load(models / "mixed.onnx")
    engine = RemoteOptions(kind="remote", url=f"{service.url}/models/unknown/score")
    with pytest.raises(ServiceError, match=r"has nothing there: HTTP 404: no model of that name is served here"):
        scored(engine, model, [rows()])


def test_connections_are_used_again_for_the_next_slice(service: Server, models: Path, count_connections: Any) -> None:
    model = OnnxModel.load(models / "mixed.onnx")
    engine = RemoteOptions(kind="remote", url=url_of(service, "arrow"), batch_rows=50, in_flight=2)
    task = Task(model, model.bind(FEATURES), output_columns(model.signature))
    with closing(open_engine(engine, task, RuntimeOptions())) as opened:
        for _ in range(3):
            list(opened.score([rows()]))
    assert count_connections() <= 2


@pytest.fixture
def count_connections(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    from onnx_pipeline.engines.remote.sockets import Sockets

    made = []
    lock = threading.Lock()
    original = Sockets.connect_tcp

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        with lock:
            made.append(arguments)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Sockets, "connect_tcp", counted)
    return lambda: len(made)
