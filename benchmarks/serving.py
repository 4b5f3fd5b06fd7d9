"""The scoring service alone under concurrent small requests, beside a plain FastAPI handler and MLServer.

All three score the sample's tree on the same rows with one thread of ONNX Runtime per request, each server in a process
of its own, and their answers are compared first. The load comes from `wrk` (Debian's package); the servers take turns,
and the best turn of each counts. FastAPI and MLServer live in environments of their own, made once under data/, since
MLServer pins what this project has newer.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.table import Table

from benchmarks.environments import python_with
from benchmarks.setting import LeftOut
from onnx_pipeline.sample import MODELS
from onnx_pipeline.sample.encounters import TREE_FEATURES, generate

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_MODEL = MODELS / "length_of_stay.onnx"
_ROWS = (1, 10, 100)
_CLIENTS = 8
_SECONDS = 4
_TURNS = 2
_PEERS = {"fastapi": ["fastapi", "uvicorn", "uvloop", "httptools"], "mlserver": ["mlserver"]}
_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*all")
file:close()
"""


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Requests per second and latencies, by rows of a request; LeftOut without `wrk`, or its peers' packages."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LeftOut("the load comes from wrk; install it, e.g. apt install wrk")
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "post.lua").write_text(_SCRIPT)
        servers = _servers(folder)
        for rows in _ROWS:
            best: dict[str, dict[str, float]] = {}
            answers = {}
            for _ in range(_TURNS):
                for name, (start, path, make, read) in servers.items():
                    body = folder / f"{name}.json"
                    body.write_text(json.dumps(make(_matrix(rows))))
                    with start() as (port, process):
                        url = f"http://127.0.0.1:{port}{path}"
                        answers[name] = read(_wait(url, body.read_bytes()))
                        found = _load(wrk, url, folder / "post.lua", body, process)
                    if found["requests_per_second"] >= best.get(name, found)["requests_per_second"]:
                        best[name] = found
            for name, found in answers.items():
                np.testing.assert_allclose(found, answers["onnx-pipeline"], rtol=1e-6, err_msg=name)
            results += [{"rows": rows, "server": name, **found} for name, found in best.items()]
    return results, _table(results)


Server = tuple[Callable[[], Any], str, Callable[[np.ndarray[Any, Any]], Any], Callable[[Any], list[float]]]


def _servers(folder: Path) -> dict[str, Server]:
    variables = {**os.environ, "MODEL": str(_MODEL), "PYTHONWARNINGS": "ignore"}
    found: dict[str, Server] = {
        "onnx-pipeline": (
            lambda: _process(
                [sys.executable, "-c", "from onnx_pipeline.cli import main; main()", "serve", "--models", str(_MODEL)],
                variables, folder,
            ),
            "/score", _records, _predictions,
        ),
        "onnx-pipeline, v2": (
            lambda: _process(
                [sys.executable, "-c", "from onnx_pipeline.cli import main; main()", "serve", "--models", str(_MODEL)],
                variables, folder,
            ),
            "/v2/models/length_of_stay/infer", _tensor, _outputs,
        ),
    }  # fmt: skip
    peers = Path(__file__).parent / "peers"
    for kind in ("threads", "event loop"):
        python = _environment("fastapi")
        found[f"FastAPI, {kind}"] = (
            lambda python=python: _process([python, "-m", "uvicorn", "fastapi_app:app"], variables, folder, peers),
            "/score" if kind == "threads" else "/score_in_loop", _records, _predictions,
        )  # fmt: skip
    python = _environment("mlserver")
    found["MLServer"] = (
        lambda: _mlserver(python, variables, folder, peers), "/v2/models/length_of_stay/infer", _tensor, _outputs,
    )  # fmt: skip
    return found


def _environment(name: str) -> str:
    return python_with(name, [*_PEERS[name], "onnxruntime", "numpy", "orjson"])


@contextmanager
def _process(
    command: Sequence[str], variables: dict[str, str], folder: Path, cwd: Path = _ROOT, *, port: int | None = None
) -> Iterator[tuple[int, psutil.Process]]:
    chosen = port or _free_port()
    arguments = [*command, "--port", str(chosen)] if port is None else list(command)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(arguments, cwd=cwd, env=variables, stdout=log, stderr=log)
        try:
            yield chosen, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def _mlserver(
    python: str, variables: dict[str, str], folder: Path, peers: Path
) -> Iterator[tuple[int, psutil.Process]]:
    """MLServer takes its ports and the model from files; one process scores in the event loop, as is fastest here."""
    home = folder / "mlserver"
    home.mkdir(exist_ok=True)
    ports = [_free_port() for _ in range(3)]
    settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    (home / "settings.json").write_text(
        json.dumps({**settings, "host": "127.0.0.1", "parallel_workers": 0, "debug": False})
    )
    (home / "model-settings.json").write_text(
        json.dumps(
            {"name": "length_of_stay", "implementation": "mlserver_model.Tree", "parameters": {"uri": str(_MODEL)}}
        )
    )
    shutil.copy(peers / "mlserver_model.py", home)
    command = [str(Path(python).parent / "mlserver"), "start", str(home)]
    with _process(command, {**variables, "PYTHONPATH": str(home)}, folder, home, port=ports[0]) as started:
        yield started


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(url: str, body: bytes) -> Any:
    """The first answer; servers start and load at their own pace."""
    deadline = time.monotonic() + 90
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except OSError:  # noqa: PERF203 - it waits
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _load(wrk: str, url: str, script: Path, body: Path, process: psutil.Process) -> dict[str, float]:
    command = [wrk, "-t1", f"-c{_CLIENTS}", f"-d{_SECONDS}s", "--latency", "-s", str(script), url]
    before = _processor_seconds(process)
    done = subprocess.run(command, env={**os.environ, "BODY": str(body)}, capture_output=True, text=True, check=True)
    spent = _processor_seconds(process) - before
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"{url} failed some requests:\n{done.stdout}")
    rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout), re.search(r"(\d+) requests in", done.stdout)
    assert rate is not None, done.stdout
    assert requests is not None, done.stdout
    latencies = dict(re.findall(r"^\s+(50|90|99)%\s+([\d.]+[a-z]+)", done.stdout, flags=re.MULTILINE))
    return {
        "requests_per_second": float(rate[1]),
        **{f"p{percent}_ms": _milliseconds(text) for percent, text in latencies.items()},
        "processor_ms": round(1000 * spent / int(requests[1]), 3),
    }


def _processor_seconds(process: psutil.Process) -> float:
    """Of the server with its children: what a busy machine does besides is not in it."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return round(float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit], 3)


def _matrix(rows: int) -> np.ndarray[Any, Any]:
    batch = next(generate(1, rows))
    columns = [np.array(batch.column(name).to_pylist(), dtype=np.float32) for name in TREE_FEATURES]
    return np.nan_to_num(np.column_stack(columns), nan=1.0)


def _records(matrix: np.ndarray[Any, Any]) -> Any:
    return [dict(zip(TREE_FEATURES, row, strict=True)) for row in matrix.tolist()]


def _predictions(answer: Any) -> list[float]:
    return [record["variable"] for record in answer]


def _tensor(matrix: np.ndarray[Any, Any]) -> Any:
    data = matrix.ravel().tolist()
    return {"inputs": [{"name": "features", "shape": list(matrix.shape), "datatype": "FP32", "data": data}]}


def _outputs(answer: Any) -> list[float]:
    found: list[float] = answer["outputs"][0]["data"]
    return found


def _table(results: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"Small requests, {_CLIENTS} clients at once")
    for heading in ("rows", "server", "requests/s", "p50 ms", "p90 ms", "p99 ms", "CPU ms"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for found in results:
        percentiles = (f"{found[f'p{percent}_ms']:.1f}" for percent in (50, 90, 99))
        table.add_row(
            str(found["rows"]),
            found["server"],
            f"{found['requests_per_second']:,.0f}",
            *percentiles,
            f"{found['processor_ms']:.2f}",
        )
    return table
