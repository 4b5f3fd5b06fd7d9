"""A small world to break: four wards of 20,000 visits, two models, and a process that scores them without Dagster.

The process can be told to stop at a place, so that a kill falls exactly there.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from onnx_pipeline.engines import open_engine
from onnx_pipeline.engines.base import PoolEngine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.duckdb import load as duckdb_module
from onnx_pipeline.pools.duckdb.landing import FileLanding
from onnx_pipeline.pools.duckdb.load import Statements
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.records import LOG_TABLE
from onnx_pipeline.scoring import extract as extract_module
from onnx_pipeline.scoring import predict as predict_module
from onnx_pipeline.scoring import staging as staging_module
from onnx_pipeline.scoring.extract import extract
from onnx_pipeline.scoring.landing import land, survey
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.marks import Marks
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.predict import predict
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec

WARDS = ("east", "north", "south", "west")
ROWS = 20_000
"""Of each ward."""
FEATURES = ("age", "pulse", "oxygen")
WEIGHTS = {"first": (0.5, -0.25, 2.0), "second": (-1.0, 3.0, 0.125)}
"""Of the two models, `score = visit · weights`."""


@dataclass(frozen=True)
class Ward:
    """The folder that the pool, staging and models lie in."""

    home: Path

    rows: ClassVar[int] = ROWS
    """Of each ward."""
    pool_engine: ClassVar[str] = "sql"
    """What `land` scores by."""

    @property
    def pool(self) -> DuckDBPool:
        return DuckDBPool(self.home / "data" / "pool.duckdb", lock_timeout=60)

    @contextmanager
    def looking(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The database itself, for whoever looks at what stands in it."""
        with self.pool.connect("looking") as connection:
            yield connection

    @property
    def staging(self) -> Staging:
        return Staging(self.home / "data" / "staging")

    def build(self) -> None:
        """Fill the pool and write the models."""
        (self.home / "data").mkdir(parents=True)
        visits = self.visits()
        with self.pool.connect("making a ward", create=True) as connection:
            connection.register("visits_to_copy", visits)
            connection.execute("CREATE TABLE visits AS FROM visits_to_copy").fetchall()
        self.write_models()

    def write_models(self) -> None:
        from onnx import TensorProto, helper

        for name, weights in WEIGHTS.items():
            graph = helper.make_graph(
                [helper.make_node("MatMul", ["visit", "weights"], ["score"])],
                name,
                [helper.make_tensor_value_info("visit", TensorProto.FLOAT, [None, len(FEATURES)])],
                [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
                [helper.make_tensor("weights", TensorProto.FLOAT, [len(FEATURES), 1], weights)],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
            self.model_file(name).write_bytes(model.SerializeToString())

    @classmethod
    def visits(cls) -> pa.Table:
        """The source, the same at every call."""
        generator = np.random.default_rng(11)
        total = cls.rows * len(WARDS)
        columns: dict[str, Any] = {"visit_id": np.arange(total, dtype=np.int64), "ward": np.repeat(WARDS, cls.rows)}
        columns |= {name: generator.normal(size=total).astype(np.float32) for name in FEATURES}
        return pa.table({name: pa.array(values) for name, values in columns.items()})

    def model_file(self, name: str) -> Path:
        return self.home / f"{name}.onnx"

    def sha256(self, name: str) -> str:
        return OnnxModel.load(str(self.model_file(name))).sha256

    def spec(self, mode: str, engine: str = "onnxruntime") -> ScoringSpec:
        return ScoringSpec(
            name=f"by_{mode}",
            onnx="first.onnx",
            source="visits",
            key=["visit_id"],
            features=list(FEATURES),
            partitions={"column": "ward", "values": list(WARDS)},
            target=f"scores_{mode}",
            load_mode=mode,
            engine={"kind": engine},
            directory=str(self.home),
        )

    def plan(self, mode: str, model: str, engine: str = "onnxruntime") -> ScoringPlan:
        spec = self.spec(mode, engine)
        return ScoringPlan(spec, OnnxModel.load(str(self.model_file(model))), self.pool.source(spec))

    def score(self, mode: str, model: str, run_id: str, keys: Sequence[str] = WARDS) -> None:
        """What the three assets do, one after the other."""
        plan, pool, staging = self.plan(mode, model), self.pool, self.staging
        list(extract(plan, pool, staging, keys, say=ignore))
        engine = open_engine(plan.spec.engine, plan.task, RuntimeOptions(batch_rows=4096))
        for key in keys:
            predict(plan, engine, staging, key, say=ignore)
        list(load(plan, pool, staging, keys, run_id=run_id))

    def land(self, mode: str, model: str, run_id: str, keys: Sequence[str] = WARDS) -> None:
        """The same by an engine that computes in the pool."""
        plan, pool, staging = self.plan(mode, model, self.pool_engine), self.pool, self.staging
        with closing(open_engine(plan.spec.engine, plan.task, RuntimeOptions())) as engine:
            assert isinstance(engine, PoolEngine)
            for key in keys:
                list(survey(plan, pool, staging, [key]))
                land(Marks(plan, pool), engine, staging, key, say=ignore)
        list(load(plan, pool, staging, keys, run_id=run_id))

    def expected(self, model: str) -> Any:
        """The scores in the order of visit_id, by ONNX Runtime alone."""
        import onnxruntime

        visits = self.visits()
        matrix = np.column_stack([visits[name].to_numpy() for name in FEATURES])
        session = onnxruntime.InferenceSession(self.model_file(model).read_bytes(), providers=["CPUExecutionProvider"])
        return session.run(None, {"visit": matrix})[0].ravel()

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.looking() as connection:
            return connection.execute(text, list(parameters)).fetchall()

    def assert_whole(self, mode: str) -> dict[str, str]:
        """Every ward in the target is of one run and one model, and the log says the same; the run of each ward."""
        with self.looking() as connection:
            tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            if (f"scores_{mode}",) not in tables:
                return {}
            found = connection.execute(
                "SELECT partition_key, run_id, model_sha256, count(*), count(DISTINCT visit_id) "
                f"FROM scores_{mode} GROUP BY ALL ORDER BY ALL"
            ).fetchall()
            logged = connection.execute(
                "SELECT partition_key, run_id, model_sha256, rows, source_rows FROM onnx_scoring_log "
                "WHERE scoring = $1 ORDER BY ALL",
                [f"by_{mode}"],
            ).fetchall()
        assert [row[:3] for row in found] == [row[:3] for row in logged], "target and log disagree"
        for row in (*found, *logged):
            assert row[3:] == (self.rows, self.rows), f"half a ward: {row}"
        return {ward: run for ward, run, *_ in found}

    def assert_scored(self, mode: str, model: str) -> None:
        """The whole table is what ONNX Runtime says."""
        with self.looking() as connection:
            table = connection.sql(
                f"SELECT visit_id, partition_key, model_sha256, score FROM scores_{mode} ORDER BY visit_id"
            ).to_arrow_table()
        visits = self.visits()
        assert table["visit_id"].to_pylist() == visits["visit_id"].to_pylist()
        assert table["partition_key"].cast(pa.string()).equals(visits["ward"].cast(pa.string()))
        assert set(table["model_sha256"].to_pylist()) == {self.sha256(model)}
        np.testing.assert_allclose(table["score"].to_numpy(), self.expected(model), rtol=1e-5, atol=1e-6)


def ignore(_: object) -> None:
    return


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came there"
        time.sleep(0.002)


Stop = Callable[[], None]


def forks(*preloaded: str) -> BaseContext:
    """Forks of a server that has imported everything: a process is there at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preloaded, "onnxruntime"])
    return context


def score_in_a_process(home: Path, mode: str, model: str, run_id: str, place: str | None) -> None:
    """What a child process runs: see `in_a_process`."""
    ward = Ward(home)
    in_a_process(ward, ward.score, PLACES, mode, model, run_id, place)


def land_in_a_process(home: Path, mode: str, model: str, run_id: str, place: str | None) -> None:
    """As `score_in_a_process`, by an engine of the pool."""
    ward = Ward(home)
    in_a_process(ward, ward.land, LANDING_PLACES, mode, model, run_id, place)


def in_a_process(
    ward: Ward,
    work: Callable[[str, str, str, Sequence[str]], None],
    places: Mapping[str, Callable[[Stop], None]],
    mode: str,
    model: str,
    run_id: str,
    place: str | None,
) -> None:
    """Does `work`, touches `<run_id>.started` before it, and at `place` touches `<run_id>.there` and stays."""
    keys: Sequence[str] = WARDS
    if mode == "append":
        # A slice is appended once: what a run before this one loaded is not asked for again.
        keys = [key for key in WARDS if key not in ward.pool.scoring_log("by_append")]
    if place is not None:
        places[place](lambda: _stay(ward.home / f"{run_id}.there"))
    (ward.home / f"{run_id}.started").touch()
    work(mode, model, run_id, keys)
    (ward.home / f"{run_id}.ended").touch()


def score_on_a_small_disk(home: Path, mode: str, model: str, run_id: str, bytes_of_a_file: int) -> None:
    """What a child process runs: no file can grow beyond that; leaves what it raised in `<run_id>.error`."""
    import resource

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_of_a_file, unlimited[1]))
    try:
        Ward(home).score(mode, model, run_id)
    except Exception as error:  # noqa: BLE001 - the parent looks at what it is
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        (home / f"{run_id}.error").write_text(f"{type(error).__name__}: {error}")


def _stay(flag: Path) -> None:
    flag.touch()
    while True:
        time.sleep(60)  # until it is killed


def _around(owner: Any, name: str, when: Callable[..., bool], stop: Stop, *, before: bool, nth: int = 1) -> None:
    """Stop at the nth call of `owner.name` that `when` is true of, before it or after it."""
    original = getattr(owner, name)
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        matches = when(*arguments)
        calls += matches
        if matches and before and calls == nth:
            stop()
        result = original(*arguments, **named)
        if matches and not before and calls == nth:
            stop()
        return result

    setattr(owner, name, wrapped)


def _always(*_: Any) -> bool:
    return True


def _manifest_of(stage: str) -> Callable[..., bool]:
    return lambda _, target: Path(target).name == "manifest.json" and Path(target).parts[-3] == stage


def _writes_log(_: Statements, statement: Any) -> bool:
    return isinstance(statement, sa.Insert) and statement.table.name == LOG_TABLE


def _while_rows_go_in(stop: Stop) -> None:
    original = duckdb_module.load_slice

    def slowly(connection: Any, table: Any, target: Any, piece: Any, *more: Any) -> Any:
        reader = piece.rows.open()

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                yield batch.slice(0, ROWS // 2)
                stop()

        def opened() -> pa.RecordBatchReader:
            return pa.RecordBatchReader.from_batches(reader.schema, batches())

        return original(connection, table, target, replace(piece, rows=replace(piece.rows, open=opened)), *more)

    duckdb_module.load_slice = slowly


def _after_the_commit(stop: Stop) -> None:
    original = DuckDBPool.load

    def stopping(self: Any, *arguments: Any) -> Iterator[Any]:
        for number, loaded in enumerate(original(self, *arguments)):
            if number == 1:
                stop()
            yield loaded

    DuckDBPool.load = stopping  # type: ignore[method-assign]


PLACES: dict[str, Callable[[Stop], None]] = {
    "while features are read": lambda stop: _around(extract_module._Slice, "add", _always, stop, before=False),
    "before the first features are staged": lambda stop: _around(
        staging_module.Path, "replace", _manifest_of("features"), stop, before=True
    ),
    "when half of the features are staged": lambda stop: _around(
        staging_module.Path, "replace", _manifest_of("features"), stop, before=False, nth=2
    ),
    "while a model runs": lambda stop: _around(
        predict_module.ColumnStatistics, "update", _always, stop, before=True, nth=3
    ),
    "before predictions are staged": lambda stop: _around(
        staging_module.Path, "replace", _manifest_of("predictions"), stop, before=True, nth=2
    ),
    "before anything is loaded": lambda stop: _around(duckdb_module, "load_slice", _always, stop, before=True),
    "while rows go in": _while_rows_go_in,
    "when rows are in and the log is not": lambda stop: _around(
        Statements, "execute", _writes_log, stop, before=True, nth=2
    ),
    "before the commit": lambda stop: _around(Statements, "execute", _writes_log, stop, before=False, nth=2),
    "after a commit": _after_the_commit,
}

LANDING_PLACES: dict[str, Callable[[Stop], None]] = {
    "before rows land": lambda stop: _around(FileLanding, "insert", _always, stop, before=True, nth=2),
    "when rows have landed and nobody has judged them": lambda stop: _around(
        FileLanding, "insert", _always, stop, before=False, nth=2
    ),
    "before the landing is named": PLACES["before predictions are staged"],
    "after the landing is named": lambda stop: _around(
        staging_module.Path, "replace", _manifest_of("predictions"), stop, before=False, nth=2
    ),
    **{
        name: PLACES[name]
        for name in (
            "before anything is loaded",
            "when rows are in and the log is not",
            "before the commit",
            "after a commit",
        )
    },
}
