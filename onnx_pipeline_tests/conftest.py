"""Fixtures that every test shares: a project folder of its own, with nothing of the checkout's data."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from onnx_pipeline.base import paths
from onnx_pipeline.engines import open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.models.planned import signed
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.load import LoadedSlice, load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.spark_clusters import spark_connect, spark_settings, standalone

__all__ = ["spark_connect", "spark_settings", "standalone"]  # fixtures

# How many examples a property test has, unless it says so itself; `make test-nightly` names the other profile.
settings.register_profile("commit", settings.default, max_examples=20, deadline=None)
settings.register_profile("nightly", settings.default, max_examples=200, deadline=None)
settings.load_profile("commit")

RunSql = Callable[..., list[tuple[Any, ...]]]
MakeModel = Callable[..., OnnxModel]
Score = Callable[..., list[LoadedSlice]]

SLOW_PLACES = (
    # A server, a compiler, or processes that are started and killed.
    "live",
    "extension",
    "faults",
    "azure/test_secrets_everywhere.py",
    "cli/test_commands.py",
    "cli/test_failing_scorings.py",
    "cli/test_metrics.py",
    "cli/test_outside.py",
    "cli/test_repartition.py",
    "cli/test_validate.py",
    "dagster/test_daemon.py",
    "dagster/test_executor.py",
    "dagster/test_pods.py",
    "dagster/test_start.py",
    "deploy",
    "engines/external",
    "engines/test_external_landing.py",
    "engines/test_external_language.py",
    "engines/test_http2.py",
    "engines/test_parity.py",
    "engines/test_predict.py",
    "models/test_runtime.py",
    "pools/test_duckdb_lock.py",
    "serving/test_command.py",
    "serving/test_deployments.py",
    "serving/test_faults.py",
    "test_makefile.py",
    "test_same_on_every_way.py",
    "upgrade",
    # No process, but every pool in turn, every statement that fails, requests by the hundred, runs after runs.
    "dagster/test_automation.py",
    "dagster/test_checks.py",
    "dagster/test_metrics.py",
    "dagster/test_project.py",
    "pools/test_contract.py",
    "pools/test_exchange.py",
    "pools/test_models_table.py",
    "pools/test_mssql_faults.py",
    "pools/test_scoring_log.py",
    "scoring/test_landing.py",
    "scoring/test_repartition.py",
    "serving/test_openapi.py",
)
"""Folders and modules of tests that `make test-fast` leaves out."""
SLOW_TESTS = (
    "test_the_blocks_of_a_page_run",
    "test_every_statement_is_t_sql_and_reads_as_it_did",
    "test_whatever_breaks_rows_come_in_once",
)
SLOW_FIXTURES = ("azurite", "lasting_instance", "processes", "shared_server", "spark_settings", "start_service")
"""Fixtures that start a process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The one place that says which tests are slow."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix()
        if (
            any(place == slow or place.startswith(f"{slow}/") for slow in SLOW_PLACES)
            or getattr(item, "originalname", item.name) in SLOW_TESTS
            or not set(SLOW_FIXTURES).isdisjoint(getattr(item, "fixturenames", ()))
            or item.get_closest_marker("daemon")
        ):
            item.add_marker("slow")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, as in a run: Dagster puts handlers of its own in place, which note it only."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is found out about models is kept for the tests of this session, and by none of another one."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ONNX_PIPELINE_CACHE", str(folder))
        # The sample ends today, and what tests expect of it was written once.
        patched.setenv("ONNX_PIPELINE_SAMPLE_START", "2026-01-01")
        yield folder


@pytest.fixture(autouse=True)
def project_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relative paths of configuration start in a folder that this test owns."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("ONNX_PIPELINE_HOME", str(home))
    monkeypatch.setenv("ONNX_PIPELINE_POOL", f"duckdb:///{home}/data/pool.duckdb")
    for name in ("DAGSTER_HOME", "ONNX_PIPELINE_TEST_MSSQL"):
        if name in os.environ:
            monkeypatch.delenv(name)
    # What another test loaded in this process.
    monkeypatch.setattr(paths, "_entered", None)
    return home


@pytest.fixture
def pool(project_home: Path) -> DuckDBPool:
    """An empty embedded pool."""
    (project_home / "data").mkdir()
    pool = DuckDBPool(project_home / "data" / "pool.duckdb")
    with pool.connect("making an empty pool", create=True):
        pass
    return pool


@pytest.fixture
def staging(project_home: Path) -> Staging:
    """An empty staging folder."""
    return Staging(project_home / "data" / "staging")


@pytest.fixture
def sql(pool: DuckDBPool) -> RunSql:
    """`sql(text, parameters)` runs one statement in the pool, and returns its rows."""

    def run(text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with pool.connect("preparing a test") as connection:
            return connection.execute(text, list(parameters)).fetchall()

    return run


@pytest.fixture(scope="session")
def weighted_sum() -> MakeModel:
    """`weighted_sum({"a": 2.0}, bias=1.0)`: a model that computes score = 1 + 2·a, with one float input per column."""
    from onnx import TensorProto, helper, numpy_helper

    def make(weights: Mapping[str, float], *, bias: float = 0.0, output: str = "score") -> OnnxModel:
        nodes, constants, total = [], [numpy_helper.from_array(np.float32([bias]), "bias")], "bias"
        for index, (name, weight) in enumerate(weights.items()):
            constants.append(numpy_helper.from_array(np.float32([weight]), f"weight_{index}"))
            last = output if index == len(weights) - 1 else f"sum_{index}"
            nodes.append(helper.make_node("Mul", [name, f"weight_{index}"], [f"product_{index}"]))
            nodes.append(helper.make_node("Add", [total, f"product_{index}"], [last]))
            total = last
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in weights]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, 1])]
        graph = helper.make_graph(nodes, "weighted_sum", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return OnnxModel.from_bytes(model.SerializeToString())

    return make


@pytest.fixture
def score(pool: DuckDBPool, staging: Staging) -> Score:
    """`score(spec, model, keys)` takes slices from the source into the target as the assets do, by default all of them."""

    def run(
        spec: ScoringSpec, model: OnnxModel, keys: Sequence[str] | None = None, *, run_id: str = "run-1"
    ) -> list[LoadedSlice]:
        plan = ScoringPlan(spec, model, pool.source(spec))
        pool.register_model(spec.scoring, model.sha256, b"", signed(model))
        chosen = list(plan.partitioning.keys()) if keys is None else list(keys)
        engine = open_engine(spec.engine, plan.task, RuntimeOptions())
        for piece in extract(plan, pool, staging, chosen, say=print):
            predict(plan, engine, staging, piece.partition_key, say=print)
        return list(load(plan, pool, staging, chosen, run_id=run_id))

    return run


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines of a package of somebody else's, which is installed: `house_sql` and `house_stream`."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "engines" / "outside")
