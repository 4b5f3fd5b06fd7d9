"""The engine `spark` beside what every engine does: clusters of each kind, submitted jobs, and what a job is refused."""

import datetime
import decimal
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from onnx_pipeline.base.errors import (
    ClusterError,
    DataError,
    FeatureValueError,
    KeyColumnError,
    SpecError,
    StagingError,
)
from onnx_pipeline.cluster import work
from onnx_pipeline.cluster.files import files_at
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parquet_parts import check_written, plan_parts
from onnx_pipeline.cluster.parts import Written
from onnx_pipeline.cluster.shipping import archive
from onnx_pipeline.cluster.spark import carry_out
from onnx_pipeline.cluster.work import Answer, settled
from onnx_pipeline.engines.spark.session import session
from onnx_pipeline_tests.engines.conftest import ground_of_engine
from onnx_pipeline_tests.engines.parity import CASES, NUMBERS, Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import DuckDBGround, Ground
from onnx_pipeline_tests.spark_clusters import LOCAL_CLUSTER, Standalone

CASE = CASES["tree with stand-ins"]


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """A pool on DuckDB, and `local[2]`."""
    return ground_of_engine("spark", tmp_path, request)


def scored_by(ground: Ground, folder: Path, case: Case = CASE, **engine: object) -> Scored:
    return Scored(ground, folder / "staging", case, {"kind": "spark", **engine})


def assert_scores(ground: Ground, folder: Path, **engine: object) -> None:
    table = rows(gaps=CASE.gaps)
    ground.store("rows", table)
    one = scored_by(ground, folder, **engine)
    one.run()
    one.assert_right(table)


@pytest.mark.nightly
def test_executors_in_processes_of_their_own(ground, tmp_path, monkeypatch):
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", LOCAL_CLUSTER)
    assert_scores(ground, tmp_path)
    session().stop()


def test_a_master_with_two_workers(ground, tmp_path, monkeypatch, standalone: Standalone):
    standalone.whole()
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", standalone.url)
    assert_scores(ground, tmp_path)
    session().stop()


def test_spark_connect(ground, tmp_path, monkeypatch, spark_connect: str):
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", spark_connect)
    assert_scores(ground, tmp_path)
    session().stop()


def submit(spark_settings: Path) -> list[str]:
    import pyspark

    return [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", "local[2]"]


def test_a_job_that_is_submitted(ground, tmp_path, monkeypatch, spark_settings):
    monkeypatch.delenv("ONNX_PIPELINE_SPARK")
    assert_scores(ground, tmp_path, submit=submit(spark_settings))


@pytest.mark.nightly
def test_a_value_that_the_model_refuses_in_a_job_that_is_submitted(ground, tmp_path, monkeypatch, spark_settings):
    """It is refused as it is where the run has a session, and not as a job that failed."""
    monkeypatch.delenv("ONNX_PIPELINE_SPARK")
    ground.store("rows", pa.table({"id": [1, 2], "part": ["p", "p"], "n": pa.array([0, 7], pa.int64())}))
    with pytest.raises(DataError, match="idx=7"):
        scored_by(ground, tmp_path, Case(strict), submit=submit(spark_settings)).run(["p"])


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["no-such-command"], "'no-such-command' cannot be run (No such file or directory)"),
        (["sh", "-c", "echo the queue is full; exit 3"], "sh ended with 3, so nothing was kept: the queue is full"),
        (["true"], "true ended without an error and without answers"),
    ],
)
def test_a_command_that_submits_nothing(command, says, tmp_path, monkeypatch):
    monkeypatch.delenv("ONNX_PIPELINE_SPARK", raising=False)
    ground = DuckDBGround(tmp_path)
    ground.store("rows", rows())
    with pytest.raises(ClusterError) as caught:
        scored_by(ground, tmp_path, submit=command).run()
    assert says in str(caught.value)
    assert "scored" not in ground.tables()


def test_no_url_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("ONNX_PIPELINE_SPARK", raising=False)
    ground = DuckDBGround(tmp_path)
    ground.store("rows", rows())
    with pytest.raises(SpecError, match="ONNX_PIPELINE_SPARK in the environment, the URL of the cluster"):
        scored_by(ground, tmp_path).run()


def test_parts_no_larger_than_row_groups_allow(ground, tmp_path):
    """300,000 rows in row groups of 122,880: three tasks, each row scored once, and the facts tell of them."""
    count = 300_000
    generator = np.random.default_rng(3)
    columns = {name: generator.normal(size=count).astype(np.float32) for name in NUMBERS}
    table = pa.table({"id": np.arange(count), "part": ["p"] * count, **columns})
    ground.store("rows", table)
    case = CASES["tree"]
    one = scored_by(ground, tmp_path, case, part_rows=100_000)
    plan, engine = one.plan, None
    one.run(["p"])
    wanted = ort.InferenceSession(case.make()).run(None, {"X": np.column_stack(list(columns.values()))})[0].ravel()
    found = ground.query("SELECT id, variable FROM scored ORDER BY id")
    assert [row[0] for row in found] == list(range(count))
    np.testing.assert_array_equal(np.array([row[1] for row in found], np.float32), wanted)
    assert plan.outputs[0].name == "variable"
    assert engine is None


def test_a_slice_without_rows(ground, tmp_path):
    ground.store("rows", rows(gaps=False).slice(0, 0))
    scored_by(ground, tmp_path).run()
    assert ground.query("SELECT count(*) FROM scored") == [(0,)]
    assert ground.logged() == [("p", "run-1", 0), ("q", "run-1", 0)]


def strict() -> bytes:
    """`y = table[n]`, which ONNX Runtime refuses for an n beyond the table."""
    values = helper.make_tensor("values", TensorProto.FLOAT, [3], [0.5, 1.5, 2.5])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["values", "n"], ["y"])],
        "strict",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [values],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def test_a_value_that_the_model_refuses_is_tried_once(ground, tmp_path):
    table = pa.table({"id": [1, 2, 3, 4], "part": ["p", "p", "q", "q"], "n": pa.array([0, 7, 1, 2], pa.int64())})
    ground.store("rows", table)
    one = scored_by(ground, tmp_path, Case(strict))
    with pytest.raises(DataError) as caught:
        one.run()
    assert "idx=7" in str(caught.value)
    assert "attempt" not in str(caught.value)
    assert not list((tmp_path / "staging").rglob("*.written"))
    one.run(["q"])
    assert ground.query("SELECT id, y FROM scored ORDER BY id") == [(3, 1.5), (4, 2.5)]


KEYS = {
    "whole": pa.array([1, 2**62, -5], pa.int64()),
    "uuid": pa.array([uuid.UUID(int=value).bytes for value in (1, 2, 2**127 + 3)], pa.uuid()),
    "decimal": pa.array(
        [decimal.Decimal("1.10"), decimal.Decimal("-2.20"), decimal.Decimal("3.30")], pa.decimal128(12, 2)
    ),
    "date": pa.array([datetime.date(1, 1, 1), datetime.date(2026, 1, 1), datetime.date(9999, 12, 31)]),
    "microseconds": pa.array([1, 2_000_003, 10**15], pa.timestamp("us")),
    "nanoseconds": pa.array([1, 2_000_003, 10**18], pa.timestamp("ns")),
    "instant": pa.array([1, 2_000_003, 10**15], pa.timestamp("us", "UTC")),
    "text": pa.array(["a", "A ", "ß'\""]),
    "flag": pa.array([True, False, None]).fill_null(True),
}


def test_keys_of_every_type_pass_through(ground, tmp_path):
    names = [name for name in KEYS if name not in ("flag", "nanoseconds")]
    table = pa.table(
        {**{f"k_{name}": KEYS[name] for name in names}, "part": ["p"] * 3, "n": pa.array([0, 1, 2], pa.int64())}
    )
    ground.store("rows", table)
    key = [f"k_{name}" for name in names]
    found = []
    for kind in ("onnxruntime", "spark"):
        Scored(ground, tmp_path / kind, Case(strict), {"kind": kind}, key=key).run(["p"])
        found.append(ground.query(f"SELECT {', '.join(key)}, y FROM scored ORDER BY y"))
    assert found[0] == found[1]
    assert [row[-1] for row in found[1]] == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("kind", ["onnxruntime", "sql", "spark"])
def test_a_key_that_the_target_would_cut(kind, ground, tmp_path):
    ground.store("rows", pa.table({"id": KEYS["nanoseconds"], "part": ["p"] * 3, "n": pa.array([0, 1, 2], pa.int64())}))
    one = Scored(ground, tmp_path / "staging", Case(strict), {"kind": kind})
    with pytest.raises(
        KeyColumnError, match="key column 'id' is timestamp.ns. and holds 1970-01-01 00:00:00.000000001"
    ):
        one.run(["p"])
    assert "scored" not in ground.tables()


@pytest.mark.parametrize("kind", ["us", "ns"])
def test_what_changed_last_is_logged_to_its_last_digit(kind, ground, tmp_path):
    changed = pa.array([1_000_000_001, 1_700_000_000_123_456_789], pa.timestamp("ns")).cast(
        pa.timestamp(kind), safe=False
    )
    ground.store(
        "rows", pa.table({"id": [1, 2], "part": ["p", "p"], "n": pa.array([0, 1], pa.int64()), "changed": changed})
    )
    source = {"table": "rows", "changed": "changed"}
    one = Scored(ground, tmp_path / "staging", Case(strict), {"kind": "spark"}, source=source)
    other = Scored(ground, tmp_path / "other", Case(strict), {"kind": "onnxruntime"}, source=source)
    told = []
    for each in (other, one):
        each.run(["p"])
        told += ground.query("SELECT source_changed FROM onnx_scoring_log")
    assert told[0] == told[1]


# A task by itself, without Spark


def order_of(one: Scored, plan) -> Order:
    task = one.plan.task
    return Order(
        one.case.model().describe(), task.binding, task.outputs, task.nulls, (), ["id"], one.case.model().options, plan
    )


@pytest.fixture
def handed(tmp_path: Path) -> tuple[Order, Path, Path]:
    """An order over two parts, as files: the order and the model."""
    ground = DuckDBGround(tmp_path)
    table = rows(gaps=False)
    ground.store("rows", table)
    one = scored_by(ground, tmp_path, CASES["tree"])
    features = tmp_path / "features"
    features.mkdir()
    typed = table.select(["id", *NUMBERS]).cast(
        pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in NUMBERS)])
    )
    pq.write_table(typed, features / "f.parquet", row_group_size=120)
    plan = plan_parts(str(features), str(tmp_path / "written"), ["f.parquet"], most=120, wanted=2)
    order = order_of(one, plan)
    told, model = tmp_path / "order.json", tmp_path / "model.onnx"
    told.write_text(order.to_json())
    model.write_bytes(one.case.model().normalised)
    return order, told, model


def test_each_attempt_leaves_a_file_of_its_own(handed):
    order, told, model = handed
    first, again = (work.answered(str(told), str(model), 0) for _ in range(2))
    assert first.written is not None
    assert again.written is not None
    assert first.written.name != again.written.name
    assert (first.written.rows, first.written.checksum) == (again.written.rows, again.written.checksum)
    assert Answer.from_json(first.to_json()) == first
    check_written(order.plan.options["predictions"], [first.written])


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_file_that_is_not_what_the_task_told_of(damage, handed):
    order, told, model = handed
    written = work.answered(str(told), str(model), 1).written
    assert written is not None
    path = Path(order.plan.options["predictions"]) / written.name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with pytest.raises(StagingError, match=written.name):
        check_written(order.plan.options["predictions"], [written])


def test_an_order_says_the_same_once_read(handed):
    order, _, _ = handed
    again = Order.from_json(order.to_json())
    assert again.to_json() == order.to_json()
    assert again.binding == order.binding
    assert list(again.outputs) == list(order.outputs)
    assert again.runtime == replace(order.runtime, intra_op_threads=1)


def test_providers_travel_with_their_options(handed):
    order, _, _ = handed
    asked = replace(order.runtime, providers=[{"CUDAExecutionProvider": {"device_id": 1}}, "CPUExecutionProvider"])
    assert Order.from_json(replace(order, runtime=asked).to_json()).runtime == replace(asked, intra_op_threads=1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "null"])
def test_what_is_no_order(text):
    with pytest.raises(SpecError, match="no order for a cluster"):
        Order.from_json(text)


def test_an_order_of_another_version():
    with pytest.raises(SpecError, match="format 99.*install the version of it that the run has"):
        Order.from_json('{"format": 99}')


def test_a_folder_that_a_machine_does_not_reach(handed, tmp_path):
    order, _, _ = handed
    gone = json.loads(order.to_json())
    gone["options"]["features"] = "/no/such/folder"
    told = tmp_path / "gone.json"
    told.write_text(json.dumps(gone))
    answer = work.answered(str(told), str(tmp_path / "model.onnx"), 0)
    assert answer.refused is not None
    error = work.raised(answer)
    assert isinstance(error, StagingError)
    assert "/no/such/folder/f.parquet cannot be read" in str(error)
    assert "reach that folder under the same path" in str(error)


def test_errors_keep_their_kind_on_the_way():
    refused = ("FeatureValueError", ("age", 3, "is 7 and too large"))
    error = work.raised(Answer.from_json(Answer(0, 0.1, refused=refused).to_json()))
    assert isinstance(error, FeatureValueError)
    assert (error.column, error.row) == ("age", 3)


@pytest.mark.parametrize("numbers", [[0], [1], [0, 0, 1], [0, 2], []])
def test_answers_for_other_parts_than_were_given(numbers):
    written = Written("part", 1, 1, 0)
    assert settled([Answer(1, 0.1, written), Answer(0, 0.1, written)], 2) == [written, written]
    with pytest.raises(ClusterError, match="2 parts were given to the cluster, and it answered for"):
        settled([Answer(number, 0.1, written) for number in numbers], 2)


def test_what_is_being_written_is_no_file_yet(tmp_path):
    files = files_at(str(tmp_path / "folder"))
    with files.create("a.parquet") as sink:
        sink.write(b"some")
        assert not (tmp_path / "folder" / "a.parquet").exists()
    assert (tmp_path / "folder" / "a.parquet").read_bytes() == b"some"
    with pytest.raises(ZeroDivisionError), files.create("b.parquet"):
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.parquet"]


def test_the_package_that_is_shipped_needs_arrow_numpy_and_onnx_runtime_alone(tmp_path, handed):
    """In a process that has no other packages, and this package only from the archive."""
    package = archive(tmp_path / "shipped")
    assert package == archive(tmp_path / "shipped")
    _, told, model = handed
    code = f"""
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        allowed = {{"onnx_pipeline", "numpy", "pyarrow", "onnxruntime"}} | set(sys.stdlib_module_names)
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
sys.path.insert(0, {str(package)!r})
import onnx_pipeline
assert onnx_pipeline.__file__.startswith({str(package)!r}), onnx_pipeline.__file__
from onnx_pipeline.cluster.work import answered
answer = answered({str(told)!r}, {str(model)!r}, 0)
assert answer.refused is None, answer
print(answer.written.rows)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert (done.stdout, done.stderr[-2000:]) == ("120\n", "")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("connections", ["as they are", "closed"])
def test_a_run_that_is_ended_ends_its_job(ground, handed, monkeypatch, connections):
    """As Dagster does it: an exception in the thread that waits. Spark has no job of it afterwards.

    Py4J closes its connections where a thread is interrupted, on a busy machine the one that comes next among them.
    """
    spark = session()
    order, _, model = handed
    interrupted = threading.Event()
    broken: list[str] = []
    if connections == "closed":
        from pyspark import SparkContext
        from pyspark.traceback_utils import SCCallSiteSync

        break_once(monkeypatch, SCCallSiteSync, "__exit__", broken)
        break_once(monkeypatch, SparkContext, "cancelJobGroup", broken)

    def on_tasks(done: int, total: int) -> None:
        if not interrupted.is_set():
            interrupted.set()
            # A signal, as a run gets it: what waits in a system call is woken by nothing else.
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("onnx_pipeline.cluster.spark._answers", slow)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        carry_out(spark, order, model.read_bytes(), None, on_tasks=on_tasks)
    assert time.monotonic() - started < 40, "it waited for its tasks, which sleep for a minute"
    deadline = time.monotonic() + 30
    while spark.sparkContext.statusTracker().getActiveJobsIds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert broken == (["__exit__", "cancelJobGroup"] if connections == "closed" else [])


def break_once(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, broken: list[str]) -> None:
    """A method of Spark's that finds its connection to Java closed, the first time."""
    from py4j.protocol import Py4JNetworkError

    method = getattr(kind, name)

    def breaks(*arguments: object) -> object:
        if name in broken:
            return method(*arguments)
        broken.append(name)
        raise Py4JNetworkError("Answer from Java side is empty")

    monkeypatch.setattr(kind, name, breaks)


@pytest.mark.nightly
@pytest.mark.usefixtures("interruptible")
def test_a_run_that_is_ended_ends_its_job_over_spark_connect(handed, monkeypatch, spark_connect: str):
    """The server runs two tasks at once: what comes next would wait for the sleepers, were they not ended."""
    monkeypatch.setenv("ONNX_PIPELINE_SPARK", spark_connect)
    spark = session()
    order, _, model = handed
    timer = threading.Timer(10, os.kill, (os.getpid(), signal.SIGINT))
    monkeypatch.setattr("onnx_pipeline.cluster.spark._answers", slow)
    started = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            carry_out(spark, order, model.read_bytes(), None, on_tasks=lambda done, total: None)
        assert spark.range(0, 100, 1, 2).count() == 100
        assert time.monotonic() - started < 50, "it waited for its tasks, which sleep for a minute"
    finally:
        timer.cancel()
        spark.stop()


def slow(order, model, batches):
    import time

    time.sleep(60)
    yield from batches
