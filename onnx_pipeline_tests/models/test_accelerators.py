"""Accelerators: which models run there, how rows get there, and that answers are the CPU's.

There is no GPU here. The code of a device runs on the CPU's provider, and on one that is no CPU's by its name, which
leaves every operator to the CPU.
"""

import ctypes
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import (
    DataError,
    FeatureValueError,
    NullFeatureError,
    OutOfMemoryError,
    RuntimeUnavailableError,
    SignatureError,
)
from onnx_pipeline.models import OnnxModel, Packer, RuntimeOptions, output_columns
from onnx_pipeline.models.accelerators import opened, placement
from onnx_pipeline.models.accelerators.agreement import Agreement, compare, enforce
from onnx_pipeline.models.accelerators.beyond_numbers import put_right, rows_beyond, rows_beyond_in_columns
from onnx_pipeline.models.accelerators.column_scorer import ColumnScorer
from onnx_pipeline.models.accelerators.columns_form import columns_form, has_columns_form
from onnx_pipeline.models.accelerators.cuda import Runtime
from onnx_pipeline.models.accelerators.shown import shown
from onnx_pipeline.models.accelerators.slots import UNDER_WAY, Slots
from onnx_pipeline.models.providers import CPU
from onnx_pipeline.models.signature import TensorSignature

FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING
ELSEWHERE = "AzureExecutionProvider"
"""It is in every package of ONNX Runtime for the CPU, and takes no operator of these models."""
OPTIONS = RuntimeOptions(providers=(ELSEWHERE, CPU))
COLUMNS = ["a", "b", "c"]

here = pytest.mark.skipif(
    ELSEWHERE not in ort.get_available_providers(), reason=f"this package of ONNX Runtime has no {ELSEWHERE}"
)


@pytest.fixture(scope="module")
def network(make_model):
    random = np.random.default_rng(0)
    weights = {
        "w0": random.normal(size=(3, 16)).astype(np.float32),
        "w1": random.normal(size=(16, 2)).astype(np.float32),
    }
    nodes = [
        make_node("MatMul", ["x", "w0"], ["h"]),
        make_node("Relu", ["h"], ["r"]),
        make_node("MatMul", ["r", "w1"], ["y"]),
    ]
    return make_model(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 2])], weights)


@pytest.fixture(scope="module")
def several(make_model):
    """A matrix, a column and a vector; a number per row and a whole number."""
    nodes = [
        make_node("ReduceSum", ["m", "axes"], ["s"], keepdims=0),
        make_node("Reshape", ["c", "flat"], ["f"]),
        make_node("Mul", ["f", "v"], ["p"]),
        make_node("Sub", ["s", "p"], ["y"]),
        make_node("Cast", ["y"], ["k"], to=INT64),
    ]
    inputs = [("m", FLOAT, ["N", 2]), ("c", FLOAT, ["N", 1]), ("v", FLOAT, ["N"])]
    outputs = [("y", FLOAT, ["N"]), ("k", INT64, ["N"])]
    return make_model(nodes, inputs, outputs, {"axes": np.array([1]), "flat": np.array([-1])})


def table_of(names, rows=1000, seed=1, dtype=np.float32):
    random = np.random.default_rng(seed)
    return pa.table({name: random.normal(size=rows).astype(dtype) for name in names})


def by_columns(model, features=None, *, rows=65_536, nulls=None, check=lambda _: None, options=None):
    binding = model.bind(features)
    wanted = output_columns(model.signature)
    names = list(dict.fromkeys(column.output for column in wanted))
    subject = model.subject(names, [len(bound.columns) for bound in binding.inputs])
    packer = Packer(binding, nulls)
    return opened.column_scorer(subject, packer, wanted, options or RuntimeOptions(), rows=rows, check=check)


def joined(parts):
    return [np.concatenate([np.asarray(arrays[place]) for arrays in parts]) for place in range(len(parts[0]))]


@pytest.mark.parametrize("rows", [1, 7, 1000, 4096])
def test_a_matrix_that_arrives_as_columns_gives_the_answers_of_plain_onnx_runtime(network, plain_run, rows):
    score = by_columns(OnnxModel.from_bytes(network), COLUMNS, rows=rows)
    table = table_of(COLUMNS)
    found = joined([arrays for _, arrays in score.stream(table.to_batches())])
    truth = plain_run(network, {"x": np.stack([table[name].to_numpy() for name in COLUMNS], axis=1)})["y"]
    for place, answers in enumerate(found):
        np.testing.assert_allclose(answers, truth[:, place], rtol=1e-6, atol=1e-6)


def test_inputs_of_several_shapes_arrive_as_one(several, plain_run):
    features = {"m": ["a", "b"], "c": "c", "v": "d"}
    score = by_columns(OnnxModel.from_bytes(several), features, rows=300)
    table = table_of("abcd")
    number, whole = joined([arrays for _, arrays in score.stream(table.to_batches())])
    a, b, c, d = (table[name].to_numpy() for name in "abcd")
    truth = plain_run(several, {"m": np.stack([a, b], axis=1), "c": c.reshape(-1, 1), "v": d})
    np.testing.assert_array_equal(number, truth["y"])
    np.testing.assert_array_equal(whole, truth["k"])


@pytest.mark.parametrize("opset", [11, 12, 13, 17])
def test_splitting_is_written_for_the_opset_of_the_model(make_model, plain_run, opset):
    nodes = [make_node("Add", ["p", "q"], ["y"])]
    data = make_model(nodes, [("p", DOUBLE, ["N", 1]), ("q", DOUBLE, ["N", 1])], [("y", DOUBLE, ["N", 1])], opset=opset)
    score = by_columns(OnnxModel.from_bytes(data))
    table = table_of("pq", dtype=np.float64)
    (found,) = score(table.to_batches()[0])
    p, q = (table[name].to_numpy().reshape(-1, 1) for name in "pq")
    np.testing.assert_array_equal(found, plain_run(data, {"p": p, "q": q})["y"][:, 0])


def test_names_of_the_form_are_free_in_the_model(make_model):
    nodes = [make_node("Identity", ["columns"], ["columns_1"]), make_node("Neg", ["columns_1"], ["y"])]
    data = make_model(nodes, [("columns", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])])
    made, name = columns_form(data, [TensorSignature("columns", "float", (None, 2))], [2])
    onnx.checker.check_model(onnx.load_model_from_string(made))
    assert name == "columns_2"


@pytest.mark.parametrize(
    ("inputs", "widths", "has"),
    [
        ([("a", "float", (None, 3))], [3], True),
        ([("a", "float", (None,)), ("b", "float", (None, 1))], [1, 1], True),
        ([("a", "float", (None, None))], None, False),
        ([("a", "float", (None,)), ("b", "int64", (None,))], [1, 1], False),
        ([("a", "string", (None, 2))], [2], False),
        ([("a", "bool", (None, 2))], [2], False),
    ],
)
def test_numbers_of_one_dtype_have_a_form_of_columns(inputs, widths, has):
    assert has_columns_form([TensorSignature(*tensor) for tensor in inputs], widths) is has


def test_missing_values_and_other_types_are_made_on_the_way_as_for_a_matrix(network):
    model = OnnxModel.from_bytes(network)
    table = pa.table(
        {
            "a": pa.array([1.0, None, float("nan"), 4.0], pa.float32()),
            "b": pa.array([1, 2, 3, None], pa.int16()),
            "c": pa.array([0.5, 1.5, None, 2.5], pa.float64()),
        }
    )
    for nulls in (None, {"a": 7.0}):
        usual = model.score(table, features=COLUMNS, nulls=nulls)
        found = by_columns(model, COLUMNS, nulls=nulls)(table.to_batches()[0])
        for name, answers in zip(usual.column_names, found, strict=True):
            np.testing.assert_allclose(np.asarray(answers), usual[name].to_numpy(), rtol=1e-6)


def test_a_column_that_moves_nothing_need_not_be_there(make_model, plain_run):
    data = make_model(
        [make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 1])],
        {"w": np.array([[1], [0], [2]], np.float32)},
    )  # fmt: skip
    model = OnnxModel.from_bytes(data)
    binding = model.bind(COLUMNS)
    (bound,) = binding.inputs
    table = table_of("ac")
    columns = np.full((3, 1000), 9, np.float32)
    Packer(replace(binding, inputs=(replace(bound, unread=frozenset({1})),))).fill(table.to_batches()[0], columns)
    np.testing.assert_array_equal(columns[1], 0)
    np.testing.assert_array_equal(columns[[0, 2]], [table["a"].to_numpy(), table["c"].to_numpy()])


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (pa.array([1.0, 1e300]), FeatureValueError, "'c'"),
        (pa.array(["x", "y"]), SignatureError, "column 'c' has the type string"),
    ],
)
def test_a_value_or_type_that_does_not_fit_is_named(network, column, error, message):
    batch = pa.record_batch({"a": pa.array([1.0, 2.0]), "b": pa.array([1.0, 2.0]), "c": column})
    score = by_columns(OnnxModel.from_bytes(network), COLUMNS)
    with pytest.raises(error, match=message):
        score(batch)
    with pytest.raises(error, match=message):
        list(score.stream([batch]))


def test_batches_come_back_in_order_whatever_their_sizes(network):
    model = OnnxModel.from_bytes(network)
    table = table_of(COLUMNS, 5000)
    sizes = [0, 1, 2000, 3, 0, 999, 1997]
    cuts = np.cumsum([0, *sizes])
    batches = [
        table.slice(start, size).combine_chunks().to_batches()[0] if size else table.schema.empty_table().to_batches()
        for start, size in zip(cuts, sizes, strict=False)
    ]
    batches = [batch or pa.RecordBatch.from_pylist([], schema=table.schema) for batch in batches]
    score = by_columns(model, COLUMNS, rows=700)
    parts = list(score.stream(batches))
    assert sum(batch.num_rows for batch, _ in parts) == 5000
    assert all(len(arrays[0]) == batch.num_rows <= 700 for batch, arrays in parts)
    usual = model.score(table, features=COLUMNS)
    for name, answers in zip(usual.column_names, joined([arrays for _, arrays in parts]), strict=True):
        np.testing.assert_allclose(answers, usual[name].to_numpy(), rtol=1e-6)


def test_a_batch_that_must_not_be_scored_is_refused(network):
    def refuse(batch):
        if batch.column("a")[0].as_py() is None:
            raise NullFeatureError("a")

    score = by_columns(OnnxModel.from_bytes(network), COLUMNS, check=refuse)
    good = table_of(COLUMNS).to_batches()[0]
    bad = pa.record_batch({"a": pa.array([None], pa.float32()), "b": [1.0], "c": [1.0]})
    stream = score.stream([good, bad, good])
    assert next(stream)[0].num_rows == 1000
    with pytest.raises(NullFeatureError):
        list(stream)


def test_several_threads_share_one_scorer(network):
    model = OnnxModel.from_bytes(network)
    score = by_columns(model, COLUMNS)
    batches = [table_of(COLUMNS, 500, seed).to_batches()[0] for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(score, batches))
    usual = model.scorer(model.bind(COLUMNS))
    for batch, arrays in zip(batches, found, strict=True):
        np.testing.assert_allclose(np.asarray(arrays[1]), np.asarray(usual(batch)[1]), rtol=1e-6, atol=1e-6)


class _Slot:
    """Sums columns; has memory for so many rows, and counts how many are in use."""

    made = 0

    def __init__(self, rows, most, gate=None):
        _Slot.made += 1
        self._memory = np.empty((3, rows), np.float32)
        self._most = most
        self._gate = gate

    def columns(self, rows):
        return self._memory[:, :rows]

    def run(self, rows):
        if rows > self._most:
            raise OutOfMemoryError("no memory")
        if self._gate is not None:
            self._gate.wait(10)
        return [self._memory[:, :rows].sum(axis=0).astype(np.float32)]


def _summing(make_model, make_slot, rows):
    data = make_model([make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)], [("x", FLOAT, ["N", 3])],
                      [("y", FLOAT, ["N"])], {"axes": np.array([1])})  # fmt: skip
    model = OnnxModel.from_bytes(data)
    packer, wanted = Packer(model.bind(COLUMNS)), output_columns(model.signature)
    return ColumnScorer(
        Slots(lambda: make_slot(rows)), packer, ["y"], wanted, rows=rows, check=lambda _: None, finish=lambda *_: None
    )


def test_a_call_without_memory_is_halved_and_the_next_ones_are_smaller(make_model, caplog):
    table = table_of(COLUMNS, 100)
    score = _summing(make_model, lambda rows: _Slot(rows, most=30), rows=100)
    (found,) = score(table.to_batches()[0])
    np.testing.assert_allclose(found, sum(table[name].to_numpy() for name in COLUMNS), rtol=1e-5, atol=1e-6)
    assert "no memory for 100 rows" in caplog.text
    parts = list(score.stream(table.to_batches()))
    assert [batch.num_rows for batch, _ in parts] == [25, 25, 25, 25]


def test_a_single_row_without_memory_is_an_error(make_model):
    score = _summing(make_model, lambda rows: _Slot(rows, most=0), rows=4)
    with pytest.raises(OutOfMemoryError):
        score(table_of(COLUMNS, 4).to_batches()[0])


def test_several_batches_are_under_way_at_once_and_no_more(make_model):
    _Slot.made = 0
    gate = threading.Barrier(UNDER_WAY)  # nobody passes before all are there
    score = _summing(make_model, lambda rows: _Slot(rows, most=rows, gate=gate), rows=10)
    parts = list(score.stream(table_of(COLUMNS, 10 * UNDER_WAY * 3).to_batches()))
    assert len(parts) == UNDER_WAY * 3
    assert _Slot.made == UNDER_WAY


def test_a_stream_may_be_left_before_its_end(make_model):
    taken = []

    def batches():
        for batch in [table_of(COLUMNS, 10).to_batches()[0]] * 100:
            taken.append(batch)
            yield batch

    stream = _summing(make_model, lambda rows: _Slot(rows, most=rows), rows=10).stream(batches())
    next(stream)
    stream.close()
    assert len(taken) <= UNDER_WAY + 2


def test_trees_and_linear_models_stay_on_the_cpu():
    assert placement.cpu_only(["ai.onnx.ml.TreeEnsembleClassifier", "Cast"]) == ("ai.onnx.ml.TreeEnsembleClassifier",)
    assert placement.cpu_only(["ai.onnx.ml.LinearRegressor", "ai.onnx.ml.Scaler"]) == ("ai.onnx.ml.LinearRegressor",)
    assert placement.cpu_only(["MatMul", "Relu", "ai.onnx.ml.Scaler"]) == ()
    assert placement.cpu_only(["Gemm", "ai.onnx.ml.TreeEnsembleRegressor"]) == ()


@here
def test_that_a_model_stays_on_the_cpu_is_said_once(make_model, caplog, plain_run):
    nodes = [make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0, 3.0], targets=1)]
    data = make_model(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 1])])
    model = OnnxModel.from_bytes(data, options=OPTIONS)
    table = table_of(COLUMNS)
    with caplog.at_level(logging.WARNING):
        first, second = model.score(table, features=COLUMNS), model.score(table, features=COLUMNS)
    assert first.equals(second)
    truth = plain_run(data, {"x": np.stack([table[name].to_numpy() for name in COLUMNS], axis=1)})["y"][:, 0]
    np.testing.assert_array_equal(first["y"], truth)
    assert caplog.text.count("runs on the CPU: AzureExecutionProvider has no kernels for LinearRegressor") == 1
    assert shown(model.sha256, model.operators, OPTIONS) == {
        "providers": "CPUExecutionProvider: AzureExecutionProvider has no kernels for LinearRegressor"
    }
    assert model.calls(["y"], OPTIONS)._session.get_providers() == [CPU]


@here
@pytest.mark.parametrize("columns", [False, True])
def test_a_model_on_an_accelerator_is_compared_and_scored(network, plain_run, monkeypatch, columns):
    if columns:
        monkeypatch.setattr(opened, "_COLUMNS_ON", ELSEWHERE)
        monkeypatch.setattr(opened, "runtime_library", lambda: None)
    opened._agreements.clear()
    model = OnnxModel.from_bytes(network, options=OPTIONS)
    table = table_of(COLUMNS, 3000)
    found = model.score(table, features=COLUMNS)
    truth = plain_run(network, {"x": np.stack([table[name].to_numpy() for name in COLUMNS], axis=1)})["y"]
    np.testing.assert_allclose(found["y_1"], truth[:, 1], rtol=1e-6, atol=1e-6)
    assert isinstance(model.scorer(model.bind(COLUMNS)), ColumnScorer) is columns
    facts = shown(model.sha256, model.operators, OPTIONS)
    assert facts["providers"] == f"{ELSEWHERE}, {CPU}"
    assert 0 <= facts["difference_from_cpu"] < 1e-6
    assert "reduced_precision" not in facts


@here
def test_a_model_of_a_fixed_batch_is_compared_and_scored_in_its_batches(network, plain_run):
    opened._agreements.clear()
    model = replace(OnnxModel.from_bytes(network, options=OPTIONS), fixed_batch=8)
    table = table_of(COLUMNS, 21)
    found = model.score(table, features=COLUMNS)
    truth = plain_run(network, {"x": np.stack([table[name].to_numpy() for name in COLUMNS], axis=1)})["y"]
    np.testing.assert_allclose(found["y_0"], truth[:, 0], rtol=1e-6, atol=1e-6)
    assert opened.known_difference(model.sha256, OPTIONS) < 1e-6


def _distorted(session, factor):
    """Answers that are wrong by a factor in one row of five."""

    def ask(feeds, rows):
        (answer,) = session.run(None, dict(feeds))
        answer[::5] *= 1 + factor
        return [answer]

    return ask


def _compared(network, factor, options=OPTIONS):
    model = OnnxModel.from_bytes(network)
    session = ort.InferenceSession(network, providers=[CPU])
    ask = _distorted(session, factor)
    return compare(model.normalised, model.signature.inputs, [3], ["y"], ask, options)


@pytest.mark.parametrize("factor", [0.0, 1e-6, 9e-4])
def test_the_difference_is_measured_relative_to_the_answers(network, factor):
    found = _compared(network, factor)
    assert found.difference == pytest.approx(factor, rel=0.01, abs=1e-7)
    assert found.beyond_numbers


def test_a_model_that_misses_the_cpu_is_refused_with_the_difference(network):
    found = _compared(network, 9e-4)
    message = (
        r"net\.onnx: the answers of AzureExecutionProvider differ from the CPU's by 9\.0e-04 relative on made-up rows, more "
        r"than 1e-05, .*Run it by CPUExecutionProvider; .*`provider_tolerance`"
    )
    with pytest.raises(RuntimeUnavailableError, match=message):
        enforce(found, OPTIONS, source="net.onnx")
    assert enforce(found, RuntimeOptions(providers=(ELSEWHERE,), provider_tolerance=1e-3), source="net.onnx") is found


def test_where_reduced_precision_was_asked_for_the_difference_is_named(network, caplog):
    found = _compared(network, 9e-4)
    options = RuntimeOptions(providers=[{"CUDAExecutionProvider": {"use_tf32": True}}, CPU])
    assert enforce(found, options, source="net.onnx") is found
    assert "differ from the CPU's by 9.0e-04" in caplog.text
    assert "CUDAExecutionProvider use_tf32=1 as asked for" in caplog.text
    opened._agreements[("b" * 64, options, ("y",), True)] = found
    assert shown("b" * 64, ["MatMul"], options) == {
        "providers": "CUDAExecutionProvider (use_tf32=1), CPUExecutionProvider",
        "difference_from_cpu": found.difference,
        "reduced_precision": "CUDAExecutionProvider use_tf32=1",
    }


def test_a_model_of_which_no_rows_are_known_is_named(caplog):
    assert enforce(Agreement(None, beyond_numbers=False), OPTIONS, source="m.onnx").difference is None
    assert "m.onnx takes no made-up rows" in caplog.text


def test_an_answer_for_nan_that_is_a_number_is_seen(network):
    model = OnnxModel.from_bytes(network)
    session = ort.InferenceSession(network, providers=[CPU])
    ask = lambda feeds, rows: [np.nan_to_num(session.run(None, dict(feeds))[0], nan=0.0)]  # noqa: E731
    found = compare(model.normalised, model.signature.inputs, [3], ["y"], ask, OPTIONS)
    assert found.difference < 1e-6
    assert not found.beyond_numbers


def test_labels_that_differ_count_but_for_ties(make_model):
    nodes = [make_node("ArgMax", ["x"], ["k"], axis=1, keepdims=0), make_node("Identity", ["x"], ["s"])]
    data = make_model(nodes, [("x", FLOAT, ["N", 3])], [("k", INT64, ["N"]), ("s", FLOAT, ["N", 3])])
    inputs = [TensorSignature("x", "float", (None, 3))]
    session = ort.InferenceSession(data, providers=[CPU])

    def flipped(feeds, rows):
        labels, scores = session.run(None, dict(feeds))
        labels[0] = (labels[0] + 1) % 3
        return [labels, scores]

    assert compare(data, inputs, [3], ["k", "s"], flipped, OPTIONS).difference == 1
    truth = lambda feeds, rows: session.run(None, dict(feeds))  # noqa: E731
    assert compare(data, inputs, [3], ["k", "s"], truth, OPTIONS).difference == 0


@here
@pytest.mark.parametrize("columns", [False, True])
def test_rows_with_nan_get_the_answers_of_the_cpu_where_the_accelerator_has_others(
    network, plain_run, monkeypatch, columns
):
    """As if its Relu made 0 of NaN."""
    if columns:
        monkeypatch.setattr(opened, "_COLUMNS_ON", ELSEWHERE)
        monkeypatch.setattr(opened, "runtime_library", lambda: None)
        run = opened.Slot.run
        monkeypatch.setattr(opened.Slot, "run", lambda self, rows: list(map(np.nan_to_num, run(self, rows))))
    else:
        from onnx_pipeline.models.calls import Calls

        run_calls = Calls.__call__

        def without_nan(self, feeds, rows, **more):
            answers = run_calls(self, feeds, rows, **more)
            return list(map(np.nan_to_num, answers)) if isinstance(self, opened.AcceleratedCalls) else answers

        monkeypatch.setattr(Calls, "__call__", without_nan)
    opened._agreements.clear()
    model = OnnxModel.from_bytes(network, options=OPTIONS)
    matrix = np.random.default_rng(5).normal(size=(600, 3)).astype(np.float32)
    matrix[5, 1], matrix[77, 0], matrix[599, 2] = np.nan, np.inf, -np.inf
    table = pa.table({name: matrix[:, place] for place, name in enumerate(COLUMNS)})
    found = model.score(table, features=COLUMNS)
    truth = plain_run(network, {"x": matrix})["y"]
    assert np.isnan(truth[5]).all()
    for place in range(2):
        np.testing.assert_allclose(found[f"y_{place}"], truth[:, place], rtol=1e-6, atol=1e-6)


def test_rows_beyond_numbers_are_found_by_matrix_and_by_columns():
    matrix = np.ones((50, 3), np.float32)
    assert not len(rows_beyond({"x": matrix}))
    matrix[3, 1], matrix[40, 2], matrix[41, 0] = np.nan, np.inf, 3e38
    matrix[42, 0] = 3e38  # their sum overflows, and they are numbers
    assert rows_beyond({"x": matrix, "k": np.ones(50, np.int64), "v": np.ones(50)}).tolist() == [3, 40]
    assert rows_beyond_in_columns(np.ascontiguousarray(matrix.T)).tolist() == [3, 40]
    assert not len(rows_beyond_in_columns(np.ones((2, 5), np.int64)))
    answers = [np.zeros(50), np.zeros((50, 2))]
    answers[0].flags.writeable = False
    put_right(answers, np.array([3, 40]), lambda: [np.array([1.0, 2.0]), np.full((2, 2), 5.0)])
    assert answers[0][[3, 40, 41]].tolist() == [1, 2, 0]
    assert answers[1][40].tolist() == [5, 5]


class _Library:
    """CUDA's runtime library as far as it is used, over ordinary memory."""

    def __init__(self, code=0):
        self.freed = []
        kept = []

        def cudaSetDevice(device):  # noqa: N802 - its names
            return 0 if device == 0 else 101

        def cudaHostAlloc(pointer, size, flags):  # noqa: N802
            kept.append(ctypes.create_string_buffer(size))
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.addressof(kept[-1])
            return code

        def cudaFreeHost(address):  # noqa: N802
            self.freed.append(address.value)
            return 0

        def cudaMemcpy(target, source, size, kind):  # noqa: N802
            ctypes.memmove(target, source, size)
            return code

        def cudaGetErrorString(code):  # noqa: N802
            return {2: b"out of memory", 101: b"invalid device ordinal"}[code]

        for function in (cudaSetDevice, cudaHostAlloc, cudaFreeHost, cudaMemcpy, cudaGetErrorString):
            setattr(self, function.__name__, function)


def test_page_locked_memory_is_given_back_with_the_last_array_over_it():
    library = _Library()
    runtime = Runtime(library)
    memory = runtime.pinned(4096)
    part = memory[:80].view(np.float32).reshape(4, 5)
    part[:] = 3
    del memory
    assert not library.freed
    there = np.zeros((4, 5), np.float32)
    runtime.to_device(there.ctypes.data, part)
    np.testing.assert_array_equal(there, 3)
    del part
    assert len(library.freed) == 1


def test_what_cuda_refuses_is_told_with_what_to_do():
    with pytest.raises(
        OutOfMemoryError, match=r"1,024 bytes of page-locked memory cannot be had: out of memory\. .*`batch_"
    ):
        Runtime(_Library(code=2)).pinned(1024)
    with pytest.raises(
        RuntimeUnavailableError, match="device 7 cannot be used: CUDA error 101, invalid device ordinal"
    ):
        Runtime(_Library()).use(7)


def test_the_first_look_is_by_the_cpu_whatever_runs_the_model(network, monkeypatch):
    from onnx_pipeline.models import first_look

    asked = []
    monkeypatch.setattr(first_look, "_found_out", lambda data, options: asked.append(options) or _refused())
    with pytest.raises(DataError):
        first_look.look(network, source="m", options=OPTIONS, looks=_NoLooks())
    assert [options.providers for options in asked] == [(CPU,)]


def _refused():
    return {"refusal": {"error": "DataError", "message": "m"}, "lasting": False}


class _NoLooks:
    def find(self, sha256, options):
        return None

    def keep(self, *_):
        raise AssertionError


def test_the_benchmark_runs_without_a_gpu():
    from benchmarks.gpu import measure

    lines = list(measure(["64 x 2"], CPU, rows=3000, exact_rows=3000, turns=1))
    ways = {line["way"] for line in lines}
    assert {"ready matrix, one thread", "ours, Arrow to Arrow, batches", "difference"} <= ways
    (difference,) = [line for line in lines if line["way"] == "difference"]
    assert difference["rows"] == 3000
    assert difference["all rows"] < 1e-6
