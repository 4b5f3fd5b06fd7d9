"""The shapes in which services answer, and what an answer may not be."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.engines.remote.layout import Layout
from onnx_pipeline.engines.remote.wire import BadAnswer
from onnx_pipeline.engines.remote.wires import open_wire
from onnx_pipeline.models.binding import bind
from onnx_pipeline.models.declared import declared_signature
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.remote_model import RemoteModel


def layout_of(outputs: dict[str, str], kept: dict[str, str] | None = None) -> Layout:
    signature = declared_signature({"a": "float32"}, outputs)
    model = RemoteModel("https://scoring.example", "1", None, signature)
    return Layout.of(model, bind(signature, None), output_columns(signature, kept), {})


def answered(answer: Any, rows: int = 2, wire: str = "data", **outputs: Any) -> list[list[Any]]:
    kept = outputs.pop("kept", None)
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    decoded = open_wire(wire, layout_of(outputs or {"days": "float32"}, kept)).decode(body, rows)  # type: ignore[arg-type]
    return [array.to_pylist() for array in decoded]


TABLE = {"columns": ["days"], "index": [0, 1], "data": [[1.5], [2.5]]}


@pytest.mark.parametrize(
    "answer",
    [
        [1.5, 2.5],
        [[1.5], [2.5]],
        [{"days": 1.5}, {"days": 2.5, "why": "old"}],
        {"data": [{"days": 1.5}, {"days": 2.5}]},
        {"data": [[1.5], [2.5]]},
        {"predictions": [1.5, 2.5]},
        {"predictions": [[1.5], [2.5]]},
        {"predictions": [{"days": 1.5}, {"days": 2.5}]},
        {"outputs": [1.5, 2.5]},
        {"output_data": TABLE},
        TABLE,
        {"columns": ["why", "days"], "data": [["x", 1.5], ["y", 2.5]]},
        {"result": [1.5, 2.5], "took": 3},
        json.dumps([1.5, 2.5]),
        json.dumps({"predictions": [1.5, 2.5]}),
    ],
    ids=lambda answer: str(answer)[:40],
)
def test_one_output_in_the_shapes_that_services_give(answer: Any) -> None:
    assert answered(answer) == [[1.5, 2.5]]


def test_lists_hold_the_outputs_in_the_signatures_order() -> None:
    outputs = {"label": "int64", "p": "float32[2]"}
    assert answered([[1, 0.25, 0.75], [0, 0.5, 0.5]], **outputs) == [[1, 0], [0.25, 0.5], [0.75, 0.5]]
    assert answered([[1, 0.25, 0.75], [0, 0.5, 0.5]], **outputs, kept={"risk": "p"}) == [[0.25, 0.5], [0.75, 0.5]]


def test_a_service_may_answer_the_first_outputs_only() -> None:
    outputs = {"label": "int64", "p": "float32[2]"}
    assert answered([1, 0], **outputs, kept={"readmitted": "label"}) == [[1, 0]]
    with pytest.raises(BadAnswer, match="'p_0' is the model's output 2"):
        answered([1, 0], **outputs, kept={"risk": "p"})


def test_null_and_nan_are_left_to_the_pipelines_check() -> None:
    assert answered([1.5, None]) == [[1.5, None]]
    (found,) = answered(b"[1.5, NaN]")
    assert found[0] == 1.5 and np.isnan(found[1])
    assert answered(["x", None], word="string") == [["x", None]]


def test_whole_numbers_are_integers_and_integers_are_numbers() -> None:
    assert answered([1.0, 2], label="int64") == [[1, 2]]
    assert answered([1, 2]) == [[1.0, 2.0]]
    assert answered([2**63 - 1, -(2**63)], label="int64") == [[2**63 - 1, -(2**63)]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>", "no JSON"),
        (b"", "no JSON"),
        ([1.5], "1 rows for 2 sent"),
        ([1.5, 2.5, 3.5], "3 rows for 2 sent"),
        (["1.5", "2.5"], "'days' are str, not float"),
        ([True, False], "'days' are bool, not float"),
        ([[1.5], [2.5, 3.5]], "different lengths: 1 to 2"),
        ([[1.5, 9], [2.5, 9]], "2 values, and the model has 1 outputs"),
        ([1.5, [2.5]], "different kinds: float, list"),
        ([{"days": 1.5}, {"hours": 2.5}], "a row has hours, and no 'days'"),
        ({"columns": ["hours"], "data": [[1.5], [2.5]]}, "columns hours, and no 'days'"),
        ({"columns": ["days", "hours"], "data": [[1.5], [2.5]]}, "names 2 columns, and its rows have 1"),
        ({"error": "model crashed"}, "object with error"),
        (b'[{"days": 1.5, "days": 2.5}, {"days": 2.5}]', "has the key 'days' twice in one object"),
        ({"predictions": 3}, "holds a int where its rows should be"),
        (3, "holds a int"),
    ],
)
def test_what_cannot_be_the_predictions_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        answered(answer)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([1.5, 2.0], "are float, not int64" if False else "'label' is no int64"),
        ([2**64, 1], "'label' is no int64"),
    ],
)
def test_what_an_integer_cannot_hold_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        answered(answer, label="int64")
    assert words in str(raised.value)


def tensor(**changed: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "days", "shape": [2], "datatype": "FP32", "data": [1.5, 2.5], **changed}]}


@pytest.mark.parametrize("changed", [{}, {"shape": [2, 1]}, {"shape": [2, 1], "data": [[1.5], [2.5]]}])
def test_v2_tensors_are_flat_or_nested(changed: dict[str, Any]) -> None:
    assert answered(tensor(**changed), wire="v2") == [[1.5, 2.5]]


def test_a_v2_tensor_of_several_columns_is_row_after_row() -> None:
    answer = {"outputs": [{"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}]}
    assert answered(answer, wire="v2", p="float32[2]") == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "hours"}, "outputs hours, and no 'days'"),
        ({"shape": [3]}, "the shape [3] for 2 rows of 1"),
        ({"shape": None}, "the shape None"),
        ({"datatype": "INT64"}, "is INT64, not FP32"),
        ({"datatype": "FP64"}, "is FP64, not FP32"),
        ({"data": [1.5]}, "1 values for 2 rows of 1"),
        ({"data": "AAAA"}, "no list `data`"),
        ({"data": ["x", "y"]}, "are str, not float"),
    ],
)
def test_v2_tensors_that_are_not_the_predictions_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        answered(tensor(**changed), wire="v2")
    assert words in str(raised.value)


def test_arrow_columns_may_come_in_any_order_and_in_several_batches() -> None:
    table = pa.table({"why": ["x", "y"], "days": pa.array([1.5, 2.5], pa.float32())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    assert answered(sink.getvalue().to_pybytes(), wire="arrow") == [[1.5, 2.5]]


def test_arrow_columns_of_classes_that_the_signature_does_not_know_go_by_their_place() -> None:
    table = pa.table({"p_no": pa.array([0.25], pa.float32()), "p_yes": pa.array([0.75], pa.float32())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    assert answered(body, rows=1, wire="arrow", p="float32[2]") == [[0.25], [0.75]]
    with pytest.raises(BadAnswer, match="columns p_no, p_yes, not q_0, q_1"):
        answered(body, rows=1, wire="arrow", q="float32[2]")


def test_a_cut_arrow_stream_is_refused() -> None:
    table = pa.table({"days": pa.array(np.arange(1000, dtype=np.float32))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole = sink.getvalue().to_pybytes()
    for length in range(0, len(whole) - 16, 97):
        with pytest.raises(BadAnswer):
            answered(whole[:length], rows=1000, wire="arrow")
