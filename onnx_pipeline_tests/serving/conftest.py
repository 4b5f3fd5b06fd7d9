"""The service, in this process and as a process of its own, and plain ONNX Runtime as the truth."""

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.sample import MODELS as SAMPLES
from onnx_pipeline.sample.encounters import generate
from onnx_pipeline.serving import ServingSettings, create_app
from onnx_pipeline.serving.app import ServingApp

ARROW = "application/vnd.apache.arrow.stream"
LOS, READMISSION = "length_of_stay", "readmission"


class Service:
    """A client of an app in this process, seen as coming from this machine."""

    def __init__(self, app: ServingApp, client: str) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 50000))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://service")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, path, **options))

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def arrow(self, name: str, table: pa.Table, **headers: str) -> httpx.Response:
        content = stream_of(table)
        return self.post(f"/models/{name}/score", content=content, headers={"content-type": ARROW, **headers})

    def score(self, name: str, payload: Any, **headers: str) -> httpx.Response:
        return self.post(f"/models/{name}/score", json=payload, headers=headers)

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()
        self.app.close()


Open = Callable[..., Service]


@pytest.fixture
def open_service() -> Iterator[Open]:
    """`open_service("folder", keys={"k"})`: the service over those models, all of them tried already."""
    opened: list[Service] = []

    def start(*models: str | Path, client: str = "127.0.0.1", **options: Any) -> Service:
        app = create_app(ServingSettings(models=tuple(map(str, models)), reload_seconds=600, **options))
        app.catalogue.refresh()
        service = Service(app, client)
        opened.append(service)
        return service

    yield start
    for service in opened:
        service.close()


@pytest.fixture
def gather(open_service: Open, tmp_path: Path) -> Service:
    """y = one of three numbers, by an index: a model that refuses what it cannot index."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["words", "i"], ["y"])],
        "gather",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.float32([10, 20, 30]), "words")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "gather.onnx").write_bytes(model.SerializeToString())
    return open_service(tmp_path)


@pytest.fixture
def service(open_service: Open) -> Service:
    """The two sample models."""
    return open_service(SAMPLES)


@pytest.fixture(scope="session")
def encounters() -> pa.Table:
    """200 rows of the sample, some of them with missing numbers."""
    return pa.Table.from_batches(list(generate(2, 100)))


def features_of(model: Path, table: pa.Table) -> pa.Table:
    """The columns that a sample model reads, in its dtypes."""
    session = ort.InferenceSession(model)
    kinds = {"tensor(float)": pa.float32(), "tensor(bool)": pa.bool_(), "tensor(string)": pa.string()}
    inputs = session.get_inputs()
    if len(inputs) == 1:
        names = json.loads(session.get_modelmeta().custom_metadata_map["feature_names"])
        return pa.table({name: table[name].cast(pa.float32()) for name in names})
    return pa.table({value.name: table[value.name].cast(kinds[value.type]) for value in inputs})


def truth_of(model: Path | bytes, feeds: Mapping[str, np.ndarray[Any, Any]]) -> list[Any]:
    """What plain ONNX Runtime answers, one thing per output."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers: list[Any] = session.run(None, dict(feeds))
    return answers


def feeds_of(model: Path, table: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of `features_of`, built by numpy alone."""
    session = ort.InferenceSession(model)
    columns = [column.to_numpy() for column in table.columns]
    inputs = session.get_inputs()
    if len(inputs) == 1:
        return {inputs[0].name: np.column_stack(columns).astype(np.float32)}
    return {value.name: column.reshape(-1, 1) for value, column in zip(inputs, columns, strict=True)}


def stream_of(table: pa.Table, *, batch_rows: int | None = None, options: Any = None) -> bytes:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def table_of(content: bytes) -> pa.Table:
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def records_of(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON has them: NaN is null."""
    return [
        {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
        for row in table.to_pylist()
    ]


def line_model(weight: float, *, output: str = "y", cost: int = 0) -> bytes:
    """output = weight * a; with `cost`, the same after that many multiplications of a square matrix for each row."""
    constants = [numpy_helper.from_array(np.float32([weight]), "weight")]
    nodes = [helper.make_node("Mul", ["a", "weight"], ["product"])]
    last = "product"
    if cost:
        constants.append(numpy_helper.from_array(np.eye(400, dtype=np.float32), "square_0"))
        constants.append(numpy_helper.from_array(np.float32([0]), "nothing"))
        constants.append(numpy_helper.from_array(np.int64([2]), "last"))
        # The row's value enters each product, so that nothing can be worked out beforehand.
        nodes.append(helper.make_node("Unsqueeze", ["product", "last"], ["cube"]))
        nodes.append(helper.make_node("Mul", ["cube", "nothing"], ["zero"]))
        nodes.append(helper.make_node("Add", ["square_0", "zero"], ["matrix_0"]))
        for step in range(cost):
            nodes.append(helper.make_node("MatMul", [f"matrix_{step}", f"matrix_{step}"], [f"matrix_{step + 1}"]))
        nodes.append(helper.make_node("ReduceMax", [f"matrix_{cost}"], ["greatest"], axes=[2], keepdims=0))
        nodes.append(helper.make_node("ReduceMax", ["greatest"], ["one"], axes=[1], keepdims=1))
        nodes.append(helper.make_node("Mul", ["product", "one"], ["slow"]))
        last = "slow"
    nodes.append(helper.make_node("Identity", [last], [output]))
    graph = helper.make_graph(
        nodes,
        "line",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


class Process:
    """`onnx-pipeline serve` as a process of its own."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        program = "from onnx_pipeline.cli import main; main()"
        command = [sys.executable, "-W", "ignore", "-c", program, "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.log: list[dict[str, Any]] = []
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def event(self, name: str, seconds: float = 60, **wanted: Any) -> dict[str, Any]:
        """The next line of the log that tells of such an event."""
        while True:
            line = self._lines.get(timeout=seconds)
            assert line is not None, f"the service ended with {self.process.wait(10)} before {name}:\n{self.text}"
            self.text += line
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                self.log.append(found)
                if found["event"] == name and all(found.get(key) == value for key, value in wanted.items()):
                    return found

    def rest(self) -> str:
        """The whole log, once the process has ended."""
        while (line := self._lines.get(timeout=60)) is not None:
            self.text += line
        return self.text

    def join(self) -> None:
        self._reader.join(60)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving(
    *arguments: str, models: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Process]]:
    """A running service with that many models loaded: its URL and its process."""
    running = Process(*arguments, environment=environment)
    try:
        url = running.event("listening")["url"]
        for _ in range(models):
            running.event("model_loaded")
        yield url, running
    finally:
        if running.process.poll() is None:
            running.terminate()
            try:
                running.process.wait(60)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait(10)
                raise
        running.join()
