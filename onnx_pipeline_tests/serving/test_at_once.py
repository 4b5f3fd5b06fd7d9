"""Tiny requests are scored on the event loop: same answers, same errors, and never a model that would hold it up."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.sample import MODELS
from onnx_pipeline.serving.limits import ScoringThreads
from onnx_pipeline.serving.pace import BRIEF_SECONDS, Pace
from onnx_pipeline_tests.serving.conftest import (
    ARROW,
    LOS,
    READMISSION,
    Open,
    Service,
    features_of,
    line_model,
    records_of,
    stream_of,
)

ALONE = RuntimeOptions(intra_op_threads=1)
Scored = list[str]


@pytest.fixture
def by_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scored]:
    """One entry per request that a thread scored."""
    found: Scored = []
    run = ScoringThreads.run

    async def counted(threads: ScoringThreads, *arguments: Any) -> Any:
        found.append("thread")
        return await run(threads, *arguments)

    monkeypatch.setattr(ScoringThreads, "run", counted)
    return found


def said_to_be(service: Service, name: str, seconds: float) -> None:
    """Runs of the model, of 1 to 31 rows, took that long lately."""
    for rows in (1, 2, 4, 8, 16):
        service.app.catalogue.get(name).pace.took(rows, seconds)


def bodies_of(name: str, table: pa.Table) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """The rows in every format: path, body and headers."""
    score, infer = f"/models/{name}/score", f"/v2/models/{name}/infer"
    features, json_ = features_of(MODELS / f"{name}.onnx", table), {"content-type": "application/json"}
    rows = records_of(features)
    values = [list(row.values()) for row in rows]
    kinds = {pa.float32(): "FP32", pa.bool_(): "BOOL", pa.string(): "BYTES"}
    tensors = [
        {"name": column, "shape": [len(rows)], "datatype": kinds[features[column].type], "data": [r[column] for r in rows]}
        for column in features.column_names
    ]  # fmt: skip
    matrix = np.column_stack([column.to_numpy() for column in features.columns]) if name == LOS else None
    found: dict[str, tuple[str, bytes, dict[str, str]]] = {
        "records": (score, json.dumps(rows).encode(), json_),
        "data of records": (score, json.dumps({"data": rows}).encode(), json_),
        "data of rows": (score, json.dumps({"data": values}).encode(), json_),
        "input_data": (score, json.dumps({"input_data": {"columns": list(rows[0]), "data": values}}).encode(), json_),
        "v2": (infer, json.dumps({"inputs": tensors}).encode(), json_),
        "arrow": (score, stream_of(features), {"content-type": ARROW}),
    }
    if matrix is not None:
        tensor = {"name": "features", "shape": list(matrix.shape), "datatype": "FP32"}
        head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": matrix.nbytes}}]}).encode()
        length = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        found["v2 binary"] = (infer, head + matrix.tobytes(), length)
    return found


FORMATS = [
    (name, kind)
    for name in (LOS, READMISSION)
    for kind in ("records", "data of records", "data of rows", "input_data", "v2", "arrow", "v2 binary")
    if (name, kind) != (READMISSION, "v2 binary")
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("name", "kind"), FORMATS)
def test_the_event_loop_answers_what_a_thread_answers(
    service: Service, by_thread: Scored, encounters: pa.Table, name: str, kind: str, count: int
) -> None:
    path, body, headers = bodies_of(name, encounters.slice(5, count))[kind]
    threaded = service.post(path, content=body, headers=headers)
    assert (threaded.status_code, by_thread) == (200, ["thread"])
    served = service.app.catalogue.get(name)
    while not served.pace.is_brief(count):
        served.pace.took(count, BRIEF_SECONDS / 2)
    at_once = service.post(path, content=body, headers=headers)
    assert by_thread == ["thread"]
    assert (at_once.status_code, at_once.content) == (200, threaded.content)
    differs = {"x-request-id"}
    assert {k: v for k, v in at_once.headers.items() if k not in differs} == {
        k: v for k, v in threaded.headers.items() if k not in differs
    }


REFUSED = [
    (b"{", 400, "not_json"),
    (b'[{"age": 1, "age": 2}]', 400, "key_twice"),
    (b"{}", 400, "shape_unknown"),
    (b'[{"age": 1}]', 400, "column_missing"),
    (json.dumps({"data": [[1.0] * 26 + ["x"]]}).encode(), 400, "value_misfit"),
    (json.dumps({"data": [[1.0] * 27, [1.0]]}).encode(), 400, "row_length"),
    (json.dumps({"data": [[1e300] * 27]}).encode(), 400, "value_misfit"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), REFUSED, ids=[code + str(n) for n, (_, _, code) in enumerate(REFUSED)]
)
def test_errors_are_the_same(service: Service, by_thread: Scored, body: bytes, status: int, code: str) -> None:
    headers = {"content-type": "application/json", "x-request-id": "one"}
    threaded = service.post(f"/models/{LOS}/score", content=body, headers=headers)
    said_to_be(service, LOS, BRIEF_SECONDS / 2)
    at_once = service.post(f"/models/{LOS}/score", content=body, headers=headers)
    assert by_thread == ["thread"]
    assert (threaded.status_code, threaded.json()["error"]["code"]) == (status, code)
    assert (at_once.status_code, at_once.json()) == (threaded.status_code, threaded.json())


def test_a_row_that_the_model_refuses_is_named_on_the_event_loop(gather: Service) -> None:
    said_to_be(gather, "gather", BRIEF_SECONDS / 2)
    error = gather.score("gather", [{"i": 1}, {"i": 7}, {"i": 2}]).json()["error"]
    assert (error["code"], error["row"]) == ("row_refused", 1)
    assert gather.score("gather", [{"i": 2}]).json() == [{"y": 30}]


def test_a_failure_that_nobody_foresaw_is_500_there_too(
    service: Service, by_thread: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.serving.served import ServedModel

    said_to_be(service, LOS, BRIEF_SECONDS / 2)
    monkeypatch.setattr(ServedModel, "run", lambda *_: 1 // 0)
    answer = service.score(LOS, {"data": [[1.0] * 27]})
    assert (answer.status_code, answer.json()["error"]["code"], by_thread) == (500, "internal_error", [])


def test_more_rows_than_are_known_to_be_brief_go_to_a_thread(service: Service, by_thread: Scored) -> None:
    pace = service.app.catalogue.get(LOS).pace
    pace.took(1, BRIEF_SECONDS / 2)
    pace.took(2, BRIEF_SECONDS * 2)
    assert service.score(LOS, {"data": [[1.0] * 27]}).status_code == 200
    assert by_thread == []
    many = service.score(LOS, {"data": [[1.0] * 27] * 2})
    assert (many.status_code, len(many.json()["data"]), by_thread) == (200, 2, ["thread"])
    assert len(service.score(LOS, {"data": [[1.0] * 27] * 5}).json()["data"]) == 5
    assert by_thread == ["thread", "thread"]


def test_a_body_that_is_not_tiny_goes_to_a_thread(service: Service, by_thread: Scored) -> None:
    said_to_be(service, LOS, BRIEF_SECONDS / 2)
    record = dict.fromkeys(service.app.catalogue.get(LOS).columns, 1.0)
    assert service.score(LOS, [record | {"note": "x" * 10_000}]).status_code == 200
    assert by_thread == ["thread"]


def test_a_slow_model_holds_nobody_up_however_small_its_requests(
    open_service: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.serving.served import ServedModel

    (tmp_path / "slow.onnx").write_bytes(line_model(2))
    (tmp_path / "line.onnx").write_bytes(line_model(3))
    service = open_service(tmp_path)
    said_to_be(service, "slow", BRIEF_SECONDS * 2)
    said_to_be(service, "line", BRIEF_SECONDS / 2)
    begun, answered, run = threading.Event(), threading.Event(), ServedModel.run

    def waits_for_the_other(served: ServedModel, *arguments: Any) -> Any:
        if served.name == "slow":
            begun.set()
            assert answered.wait(60)
        return run(served, *arguments)

    monkeypatch.setattr(ServedModel, "run", waits_for_the_other)
    transport = httpx.ASGITransport(service.app, client=("127.0.0.1", 50000))

    async def race() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            slow = asyncio.ensure_future(client.post("/models/slow/score", json=[{"a": 1}]))
            await asyncio.to_thread(begun.wait, 60)
            quick = await client.post("/models/line/score", json=[{"a": 1}])
            answered.set()
            assert (quick.json(), (await slow).json()) == ([{"y": 3}], [{"y": 2}])

    asyncio.run(race())


def test_a_slow_model_is_known_by_its_own_runs(open_service: Open, by_thread: Scored, tmp_path: Path) -> None:
    # Some ten times BRIEF_SECONDS on any machine: two products of 400 x 400 matrices for its one row.
    (tmp_path / "slow.onnx").write_bytes(line_model(2, cost=2))
    service = open_service(tmp_path)
    for _ in range(4):
        assert service.score("slow", [{"a": 1}]).json() == [{"y": 2}]
    assert by_thread == ["thread"] * 4


def test_a_model_that_becomes_slow_leaves_the_event_loop_at_once_and_comes_back() -> None:
    pace = Pace(["Add"], ALONE)
    assert not pace.any_brief and not pace.is_brief(1)
    pace.took(1, BRIEF_SECONDS / 2)
    assert pace.any_brief and pace.is_brief(1) and not pace.is_brief(2)
    pace.took(1, BRIEF_SECONDS * 4)
    assert not pace.any_brief and not pace.is_brief(1)
    tries = 0
    while not pace.is_brief(1):
        pace.took(1, BRIEF_SECONDS / 2)
        tries += 1
    assert 5 < tries < 50


def test_a_run_that_held_up_the_event_loop_sends_the_next_one_to_a_thread_which_finds_out_why() -> None:
    pace = Pace(["Add"], ALONE)
    for rows in (1, 2):
        pace.took(rows, BRIEF_SECONDS / 2)
    pace.held_up(2, BRIEF_SECONDS / 2)
    assert pace.is_brief(2)
    pace.held_up(2, BRIEF_SECONDS * 9)
    assert pace.any_brief and pace.is_brief(1) and not pace.is_brief(2)
    pace.took(2, BRIEF_SECONDS / 2)
    assert pace.is_brief(2)


def test_runs_of_up_to_twice_as_many_rows_count_as_alike() -> None:
    pace = Pace(["ai.onnx.ml.TreeEnsembleRegressor", "Reshape"], ALONE)
    pace.took(9, BRIEF_SECONDS / 2)
    assert [rows for rows in range(1, 40) if pace.is_brief(rows)] == list(range(8, 16))


@pytest.mark.parametrize(
    ("operators", "options"),
    [
        (["Loop"], ALONE),
        (["Add", "Expand"], ALONE),
        (["Scan"], ALONE),
        (["my.domain.Anything"], ALONE),
        (["Add"], RuntimeOptions(intra_op_threads=2)),
        (["Add"], RuntimeOptions(intra_op_threads=0)),
        (["Add"], RuntimeOptions(providers=("CUDAExecutionProvider", "CPUExecutionProvider"), intra_op_threads=1)),
    ],
)
def test_what_more_than_the_number_of_rows_decides_is_never_brief(
    operators: list[str], options: RuntimeOptions
) -> None:
    pace = Pace(operators, options)
    pace.took(1, 1e-6)
    assert not pace.any_brief and not pace.is_brief(1)


def test_a_tiny_request_is_answered_while_all_threads_are_busy_and_the_queue_is_full(
    open_service: Open, tmp_path: Path
) -> None:
    (tmp_path / "line.onnx").write_bytes(line_model(3))
    service = open_service(tmp_path, threads=1, queue=0)
    free = threading.Event()
    wait: Callable[[Any], object] = lambda _: free.wait(60)  # noqa: E731 - what stands in for a long job

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def work() -> None:
        transport = httpx.ASGITransport(service.app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            busy = asyncio.ensure_future(service.app._threads.run(wait, receive))
            await asyncio.sleep(0)
            refused = await client.post("/models/line/score", json=[{"a": 1}])
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
            said_to_be(service, "line", BRIEF_SECONDS / 2)
            answered = await client.post("/models/line/score", json=[{"a": 1}])
            assert (answered.status_code, answered.json()) == (200, [{"y": 3}])
            free.set()
            await busy

    asyncio.run(work())
