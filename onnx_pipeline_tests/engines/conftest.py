"""A table in a pool, a scoring of it by the engine `remote`, and servers in processes of their own to score it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from onnx_pipeline.engines import open_engine
from onnx_pipeline.engines.remote import service
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import PredictedSlice, predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, RunSql
from onnx_pipeline_tests.engines.external.as_python import ServersPython
from onnx_pipeline_tests.extension.as_language import BuiltExtension
from onnx_pipeline_tests.extension.conftest import extension, library  # noqa: F401 - fixtures
from onnx_pipeline_tests.extension.host import Extension
from onnx_pipeline_tests.pools.grounds import DuckDBGround, Ground, ImitatedGround

ROWS = 10_000
ROOT = Path(__file__).parents[2]


LANGUAGES = {"external_language": ("ONNX", "onnx_language"), "external_python": ("PYTHON", "servers_python")}
"""Engines that only a SQL Server runs: the language that an imitated one has for them, and the fixture that plays it."""


@pytest.fixture
def onnx_language(extension: Extension) -> BuiltExtension:  # noqa: F811
    """The language `ONNX`: the built extension."""
    return BuiltExtension(extension)


@pytest.fixture(scope="session")
def servers_python() -> Iterator[ServersPython]:
    """The language `Python`: processes that run scripts on data frames."""
    made = ServersPython()
    yield made
    made.end()


def ground_of_engine(kind: str, folder: Path, request: pytest.FixtureRequest) -> Ground:
    """A pool that an engine runs on: DuckDB, or an imitated server that has what it takes."""
    if kind == "predict":
        pool = ImitatedGround("synapse", folder)
        pool.server.answers_predict = True
        return pool
    if kind == "spark":
        request.getfixturevalue("spark_settings")
        request.getfixturevalue("monkeypatch").setenv("ONNX_PIPELINE_SPARK", "local[2]")
    if kind not in LANGUAGES:
        return DuckDBGround(folder)
    language, fixture = LANGUAGES[kind]
    ground = ImitatedGround("mssql", folder)
    ground.server.languages[language] = request.getfixturevalue(fixture)
    return ground


class Server:
    """A process that serves at `url`, and what it said."""

    def __init__(self, command: Sequence[str], url: Callable[[str], str]) -> None:
        self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = url(self.process.stdout.readline())
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def loaded(self) -> None:
        """Wait until our service has loaded its models: until then it answers 503."""
        while True:
            try:
                with urlopen(f"{self.url}/readyz"):
                    return
            except HTTPError as error:
                error.close()
            except URLError:
                pass
            time.sleep(0.02)

    def named(self, plan: Mapping[str, Any]) -> "Named":
        """One more service of a fault server's process."""
        name = uuid.uuid4().hex
        base = self.url.partition("/models/")[0]
        request = Request(f"{base}/{name}", data=json.dumps(plan).encode(), method="PUT")
        with urlopen(request) as answer:
            assert answer.status == 200
        return Named(self, name, f"{base}/{name}/models/linear/score")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass(frozen=True)
class Named:
    """A service among several in one process."""

    server: Server
    name: str
    url: str

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [request for request in self.server.requests if request["name"] == self.name]


StartServer = Callable[..., Any]


def fault_server(faults: Sequence[str] = (), **plan: Any) -> Server:
    scheme, host = ("https", "localhost") if plan.get("tls") else ("http", "127.0.0.1")
    command = ["-m", "onnx_pipeline_tests.engines.fault_server", json.dumps({"faults": list(faults), **plan})]
    return Server(command, lambda line: f"{scheme}://{host}:{line.strip()}/models/linear/score")


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """One process for all the services that nobody kills."""
    server = fault_server()
    yield server
    server.end()


@pytest.fixture(autouse=True)
def nothing_known_of_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test found out about a service, its neighbour does not know."""
    monkeypatch.setattr(service, "_services", {})


@pytest.fixture
def start_server(shared_server: Server) -> Iterator[StartServer]:
    """`start_server(["status:503"], then="none", key=...)`: a service; with `own=True` or `tls`, a process of its own."""
    running: list[Server] = []

    def start(faults: Sequence[str] = (), *, own: bool = False, **plan: Any) -> Server | Named:
        if not own and "tls" not in plan:
            return shared_server.named({"faults": list(faults), **plan})
        running.append(fault_server(faults, **plan))
        return running[-1]

    yield start
    for server in running:
        server.end()


def service_over(folder: Path) -> Server:
    """Our own service over the models in a folder, once it answers."""
    code = "from onnx_pipeline.cli import main; main()"
    command = ["-c", code, "serve", "--models", str(folder), "--port", "0"]
    server = Server(command, lambda line: str(json.loads(line)["url"]))
    server.loaded()
    return server


@pytest.fixture
def start_service() -> Iterator[Callable[[Path], Server]]:
    """`start_service(folder)`: our own service over the models in a folder; its URL is the base of all its paths."""
    running: list[Server] = []

    def start(folder: Path) -> Server:
        running.append(service_over(folder))
        return running[-1]

    yield start
    for server in running:
        server.end()


@pytest.fixture
def model(weighted_sum: MakeModel) -> OnnxModel:
    """score = 1 + 2·a - 0.5·b."""
    return weighted_sum({"a": 2.0, "b": -0.5}, bias=1.0)


@pytest.fixture
def model_file(tmp_path: Path, weighted_sum: MakeModel, model: OnnxModel) -> Path:
    """The model as `linear.onnx` in a folder of its own."""
    path = tmp_path / "models" / "linear.onnx"
    path.parent.mkdir()
    path.write_bytes(model.normalised)
    assert OnnxModel.load(path).sha256 == model.sha256
    return path


@pytest.fixture
def rows(sql: RunSql) -> None:
    """A table `visits` of 10,000 rows: id, a, b."""
    sql(
        f"CREATE TABLE visits AS SELECT i AS id, (sin(i) * 5)::REAL AS a, (cos(i) * 3)::REAL AS b FROM range({ROWS}) t(i)"
    )


def remote(url: str, **options: Any) -> dict[str, Any]:
    """An engine that tries again at once, in small requests."""
    return {"kind": "remote", "url": url, "batch_rows": 1000, "request_seconds": 20, **options}


def spec_of(engine: Mapping[str, Any], **attributes: Any) -> ScoringSpec:
    return ScoringSpec.model_validate(
        {"name": "visits", "onnx": "linear.onnx", "source": "visits", "key": ["id"], "target": "scored"}
        | attributes
        | {"engine": engine}
    )


class Run:
    """Takes the table into the target, and looks at what came of it."""

    def __init__(self, pool: DuckDBPool, staging: Staging, sql: RunSql, model: OnnxModel) -> None:
        self.pool, self.staging, self.sql, self.model = pool, staging, sql, model
        self.said: list[str] = []

    def __call__(self, engine: Mapping[str, Any], *, model: Any = None, **attributes: Any) -> PredictedSlice:
        """As the assets do. What fails leaves what it raises."""
        spec = spec_of(engine, **attributes)
        plan = ScoringPlan(spec, model or self.model, self.pool.source(spec))
        (key,) = plan.partitioning.keys()
        list(extract(plan, self.pool, self.staging, [key], say=print))
        with closing(open_engine(spec.engine, plan.task, RuntimeOptions(), self.said.append)) as opened:
            piece = predict(plan, opened, self.staging, key, say=print)
        list(load(plan, self.pool, self.staging, [key], run_id="run"))
        return piece

    def tables(self) -> set[str]:
        return {name for (name,) in self.sql("SELECT table_name FROM duckdb_tables()")}

    def assert_nothing(self) -> None:
        """Not one row of it is in the pool, and no slice of predictions in staging."""
        if "scored" in self.tables():
            assert self.sql("SELECT count(*) FROM scored") == [(0,)]
        if "onnx_scoring_log" in self.tables():
            assert self.sql("SELECT count(*) FROM onnx_scoring_log") == [(0,)]
        assert not list(self.staging._base.glob("*/predictions/*/*.arrow"))

    def assert_all(self, rows: int = ROWS) -> None:
        """Every row is there once, with the right score."""
        found = np.array(self.sql("SELECT s.id, s.score, v.a, v.b FROM scored s JOIN visits v USING (id) ORDER BY id"))
        assert self.sql("SELECT count(*), count(DISTINCT id) FROM scored") == [(rows, rows)]
        assert len(found) == rows
        np.testing.assert_allclose(found[:, 1], 1 + 2 * found[:, 2] - 0.5 * found[:, 3], rtol=1e-5, atol=1e-5)


@pytest.fixture
def run(pool: DuckDBPool, staging: Staging, sql: RunSql, model: OnnxModel, rows: None) -> Run:
    return Run(pool, staging, sql, model)


class CuttingProxy:
    """A TCP proxy in threads that cuts its first connections after so many bytes of their requests."""

    def __init__(self, to: int, cuts: Sequence[int]) -> None:
        self._to, self._cuts = to, list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            left = self._cuts.pop(0) if self._cuts else None
            self._start(self._pump, client, server, left)
            self._start(self._pump, server, client, None)

    def _pump(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        try:
            while data := source.recv(4096):
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        self.cut += 1
                        break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            _shut(end)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            _shut(end)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed by the other side
        end.shutdown(socket.SHUT_RDWR)
