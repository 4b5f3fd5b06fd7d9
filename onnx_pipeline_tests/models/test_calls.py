"""How many rows one call takes: what memory holds, and fewer where it holds fewer."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import DataError, OutOfMemoryError
from onnx_pipeline.models import OnnxModel, RuntimeOptions, runtime_errors
from onnx_pipeline.models.calls import Calls, rows_of_a_call

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def wide(make_model):
    """One column becomes 20,000 and one again: 80 kB a row between the operators, twice at once. y = x for x ≥ 0."""
    weights = {"up": np.eye(1, 20_000, dtype=np.float32), "axes": np.array([1], np.int64)}
    nodes = [
        make_node("MatMul", ["x", "up"], ["many"]),
        make_node("Relu", ["many"], ["positive"]),
        make_node("ReduceSum", ["positive", "axes"], ["y"]),
    ]
    return make_model(nodes, [("x", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])], weights)


def test_a_row_is_as_wide_as_the_graph_where_it_is_widest(wide):
    model = OnnxModel.from_bytes(wide)
    assert 160_000 <= model.row_bytes <= 160_100
    assert (
        rows_of_a_call(RuntimeOptions(call_memory=2**30), row_bytes=model.row_bytes, fixed_batch=None)
        == 2**30 // model.row_bytes
    )
    assert rows_of_a_call(RuntimeOptions(call_memory=1), row_bytes=model.row_bytes, fixed_batch=None) == 1
    assert rows_of_a_call(RuntimeOptions(batch_rows=100), row_bytes=model.row_bytes, fixed_batch=None) == 100
    assert rows_of_a_call(RuntimeOptions(), row_bytes=None, fixed_batch=None) == 65_536
    assert rows_of_a_call(RuntimeOptions(), row_bytes=10**9, fixed_batch=4) == 4


def test_nearest_neighbours_are_as_wide_as_what_they_were_trained_on():
    from skl2onnx import to_onnx
    from sklearn.neighbors import KNeighborsRegressor

    train = np.random.default_rng(0).random((3000, 4)).astype(np.float32)
    data = to_onnx(KNeighborsRegressor(3).fit(train, train[:, 0]), train[:1]).SerializeToString()
    model = OnnxModel.from_bytes(data)
    assert 2 * 4 * 3000 <= model.row_bytes <= 4 * 4 * 3000


def test_the_models_page_says_how_many_rows_and_why(wide):
    assert OnnxModel.from_bytes(wide).about["batch_rows"].startswith("6,7")
    assert "instead of 65,536: a row takes 156 kB" in OnnxModel.from_bytes(wide).about["batch_rows"]
    assert "batch_rows" not in OnnxModel.from_bytes(wide, options=RuntimeOptions(call_memory=2**40)).about


def test_an_ordinary_model_keeps_its_batches(make_model):
    data = make_model([make_node("Add", ["x", "x"], ["y"])], [("x", FLOAT, ["N", 28])], [("y", FLOAT, ["N", 28])])
    model = OnnxModel.from_bytes(data)
    assert model.row_bytes == 2 * 28 * 4
    assert "batch_rows" not in model.about


_PEAK = "peak = lambda: int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
"""In kB. What `getrusage` calls a process's peak may be that of its parent, from before it became another program."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_memory_holds_many_rows_of_a_wide_model(wide, tmp_path):
    """At 65,536 rows a call it would be 10 GB; the budget is 256 MB."""
    (tmp_path / "wide.onnx").write_bytes(wide)
    code = (
        f"{_PEAK};"
        "import numpy as np, pandas as pd;"
        "from onnx_pipeline import OnnxModel, RuntimeOptions;"
        "model = OnnxModel.load('wide.onnx', options=RuntimeOptions(call_memory=2**28, intra_op_threads=1));"
        "answers = model.score(pd.DataFrame({'x': np.arange(20_000, dtype=np.float32)}))['y'].to_numpy();"
        "np.testing.assert_array_equal(answers, np.arange(20_000));"
        "print(peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700_000  # kB


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_calls_one_after_the_other_take_the_memory_of_one(tmp_path):
    """A second call of neighbours took as much again, planned ahead beside what the first one had left."""
    from skl2onnx import to_onnx
    from sklearn.neighbors import KNeighborsRegressor

    train = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
    neighbours = to_onnx(KNeighborsRegressor(3).fit(train, train[:, 0]), train[:1])
    (tmp_path / "neighbours.onnx").write_bytes(neighbours.SerializeToString())
    code = (
        f"{_PEAK};"
        "import numpy as np, pyarrow as pa;"
        "from onnx_pipeline import OnnxModel, RuntimeOptions;"
        "options = RuntimeOptions(call_memory=2**27, intra_op_threads=1);"
        "model = OnnxModel.load('neighbours.onnx', options=options);"
        "score = model.scorer(model.bind(list('abcd')));"
        "rows = np.random.default_rng(1).normal(size=(7000, 4)).astype(np.float32);"
        "batch = pa.RecordBatch.from_pydict({name: rows[:, place].copy() for place, name in enumerate('abcd')});"
        "score(batch.slice(0, 10));"
        "before = peak();"
        "score(batch);"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5 * 2**17  # kB


class Session:
    """Takes a few rows at once, as a process with little memory does."""

    def __init__(self, most, error=runtime_errors.ort_errors.RuntimeException):
        self.most, self.error, self.seen = most, error, []

    def run(self, outputs, feeds, options):
        rows = len(feeds["x"])
        self.seen.append(rows)
        if rows > self.most:
            raise self.error(
                "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 5242880000"
            )
        return [feeds["x"] * 2]


@pytest.mark.parametrize("error", [runtime_errors.ort_errors.RuntimeException, MemoryError])
def test_half_the_rows_are_tried_where_memory_does_not_hold_all(caplog, error):
    session = Session(13, error)
    calls = Calls(session, ["y"], rows=100, fixed_batch=None)
    feeds = {"x": np.arange(250, dtype=np.float32)}
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(calls(feeds, 250)[0], 2 * feeds["x"])
    assert session.seen[:4] == [100, 50, 25, 12]
    assert (calls.rows, max(session.seen[4:])) == (12, 12)
    assert "no memory for 100 rows in one call of the model; going on with 50" in caplog.text


def test_no_memory_for_a_single_row_is_named_as_that():
    calls = Calls(Session(0), ["y"], rows=8, fixed_batch=None)
    with pytest.raises(OutOfMemoryError, match="no memory to score 1 row at once: .*Failed to allocate memory"):
        calls({"x": np.zeros(8, np.float32)}, 8)


def test_no_memory_for_a_fixed_batch_is_not_tried_with_less():
    session = Session(3)
    with pytest.raises(OutOfMemoryError, match="no memory to score 4 rows"):
        Calls(session, ["y"], rows=4, fixed_batch=4)({"x": np.zeros(4, np.float32)}, 4)
    assert session.seen == [4]


def test_what_the_model_refuses_is_no_lack_of_memory(make_model):
    gather = make_node("Gather", ["table", "x"], ["y"])
    data = make_model(
        [gather], [("x", TensorProto.INT64, ["N"])], [("y", FLOAT, ["N"])], {"table": np.float32([1, 2, 3])}
    )
    with pytest.raises(DataError, match="the model refuses these rows"):
        OnnxModel.from_bytes(data).score(pd.DataFrame({"x": [0, 7]}))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_process_with_little_memory_scores_in_smaller_calls(wide, tmp_path):
    """Beyond what it holds by then, 512 MB; 10,000 rows take 800 MB at least."""
    (tmp_path / "wide.onnx").write_bytes(wide)
    code = (
        "import resource, numpy as np, psutil, pyarrow as pa;"
        "from onnx_pipeline import OnnxModel, RuntimeOptions;"
        "model = OnnxModel.load('wide.onnx', options=RuntimeOptions(call_memory=2**40, intra_op_threads=1));"
        "score = model.scorer(model.bind());"
        "resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**29, resource.RLIM_INFINITY));"
        "x = np.arange(10_000, dtype=np.float32);"
        "(answer,) = score(pa.RecordBatch.from_pydict({'x': x}));"
        "np.testing.assert_array_equal(answer.to_numpy(), x)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no memory for 10000 rows in one call of the model; going on with 5000" in done.stderr
