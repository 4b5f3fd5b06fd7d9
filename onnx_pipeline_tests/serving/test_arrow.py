"""Arrow streams in and out, and streams that nobody should have sent."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import (
    ARROW,
    LOS,
    READMISSION,
    features_of,
    feeds_of,
    line_model,
    stream_of,
    table_of,
    truth_of,
)


@pytest.fixture
def line(open_service, tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    return open_service(tmp_path)


@pytest.mark.parametrize("batch_rows", [1, 7, 200])
def test_a_stream_of_any_batches_scores_as_plain_onnxruntime(service, encounters, batch_rows):
    path = MODELS / f"{LOS}.onnx"
    table = features_of(path, encounters)
    answer = service.post(
        f"/models/{LOS}/score", content=stream_of(table, batch_rows=batch_rows), headers={"content-type": ARROW}
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == ARROW
    scored = table_of(answer.content)
    assert scored.schema == pa.schema([("variable", pa.float32())])
    np.testing.assert_array_equal(scored["variable"], truth_of(path, feeds_of(path, table))[0][:, 0])


def test_text_and_booleans_and_several_outputs(service, encounters):
    path = MODELS / f"{READMISSION}.onnx"
    table = features_of(path, encounters)
    scored = table_of(service.arrow(READMISSION, table).content)
    assert scored.schema == pa.schema(
        [("label", pa.int64()), ("probabilities_0", pa.float32()), ("probabilities_1", pa.float32())]
    )
    label, probabilities = truth_of(path, feeds_of(path, table))
    np.testing.assert_array_equal(scored["label"], label)
    np.testing.assert_allclose(scored["probabilities_1"], [row[1] for row in probabilities], rtol=1e-6)


def test_columns_go_by_name_in_any_order_and_dictionaries_are_text(service, encounters):
    table = features_of(MODELS / f"{READMISSION}.onnx", encounters)
    turned = table.select(table.column_names[::-1])
    coded = turned.set_column(
        turned.column_names.index("gender"), "gender", turned["gender"].combine_chunks().dictionary_encode()
    )
    assert table_of(service.arrow(READMISSION, coded).content) == table_of(service.arrow(READMISSION, table).content)


def test_a_request_larger_than_onnxruntimes_batch_is_one_answer_in_order(line):
    values = np.arange(150_001, dtype=np.float32)
    np.testing.assert_array_equal(table_of(line.arrow("line", pa.table({"a": values})).content)["y"], values * 2)


def test_no_rows_and_no_batches_give_the_schema_of_predictions(line):
    empty = pa.table({"a": pa.array([], pa.float32())})
    assert table_of(line.arrow("line", empty).content).schema == pa.schema([("y", pa.float32())])


def test_null_is_nan(line):
    scored = table_of(line.arrow("line", pa.table({"a": pa.array([1.0, None], pa.float32())})).content)
    assert np.isnan(scored["y"][1].as_py()) and scored["y"].null_count == 0


@pytest.mark.parametrize(
    "column",
    [
        *(pa.array([1, 0, None, 1], kind) for kind in (pa.int8(), pa.int64(), pa.uint16(), pa.float64())),
        pa.array([True, False, None, True]),
        pa.array([Decimal(1), Decimal(0), None, Decimal(1)], pa.decimal128(9, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_another_type_is_cast_where_every_value_stays_what_it_is(line, column):
    scored = table_of(line.arrow("line", pa.table({"a": column})).content)["y"].to_pylist()
    assert scored[:2] == [2, 0] and np.isnan(scored[2]) and scored[3] == 2


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (pa.array([1.0, 0.1]), 1),
        (pa.array([2**24, 2**24 + 1]), 1),
        (pa.array([0.5, float("inf"), 1e300]), 2),
    ],
)
def test_a_cast_that_would_lose_something_is_refused_with_its_row(line, column, row):
    error = line.arrow("line", pa.table({"a": column})).json()["error"]
    assert (error["code"], error["column"], error["row"]) == ("cast_loses", "a", row)
    assert str(column.type) in error["message"] and "float" in error["message"]


def test_text_for_a_number_is_refused_with_its_column(line):
    error = line.arrow("line", pa.table({"a": ["1"]})).json()["error"]
    assert (error["code"], error["column"]) == ("type_misfit", "a")


def test_null_in_a_column_of_text_is_refused_with_column_and_row(service, encounters):
    table = features_of(MODELS / f"{READMISSION}.onnx", encounters)
    gender = table["gender"].to_pylist()
    gender[137] = None
    table = table.set_column(table.column_names.index("gender"), "gender", pa.array(gender))
    answer = service.post(
        f"/models/{READMISSION}/score", content=stream_of(table, batch_rows=50), headers={"content-type": ARROW}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["column"], error["row"]) == (400, "gender", 137)


def test_a_missing_column_is_named_with_what_may_have_been_meant(service, encounters):
    table = features_of(MODELS / f"{LOS}.onnx", encounters)
    error = service.arrow(LOS, table.rename_columns({"glucose": "glucos"})).json()["error"]
    assert (error["code"], error["column"]) == ("column_missing", "glucose")
    assert "did you mean 'glucos'?" in error["message"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(line, codec):
    content = stream_of(pa.table({"a": np.zeros(1000, np.float32)}), options=pa.ipc.IpcWriteOptions(compression=codec))
    answer = line.post("/models/line/score", content=content, headers={"content-type": ARROW})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "compressed"


def test_rows_that_no_bytes_stand_for_are_refused(line):
    hollow = pa.RecordBatch.from_arrays([pa.nulls(10**9)], names=["a"])
    answer = line.arrow("line", pa.Table.from_batches([hollow]))
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "rows_without_data"


GOOD = stream_of(pa.table({"a": np.arange(9, dtype=np.float32), "b": [f"word {number}" for number in range(9)]}))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, len(GOOD)),
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6),
)
def test_a_damaged_stream_is_an_answer_and_never_a_crash(line, cut, changes):
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    answer = line.post("/models/line/score", content=bytes(content[:cut]), headers={"content-type": ARROW})
    assert answer.status_code in (200, 400), answer.text


def test_offsets_that_point_outside_the_text_are_refused(service, encounters):
    table = features_of(MODELS / f"{READMISSION}.onnx", encounters)
    # Words of eleven letters, so that their offsets are easy to find in the stream, and then one that points far away.
    words = pa.array([f"{number:011}" for number in range(200)])
    content = stream_of(table.set_column(table.column_names.index("gender"), "gender", words).combine_chunks())
    offsets = np.arange(0, 201 * 11, 11, dtype=np.int32)
    broken = offsets.copy()
    broken[100] = 10**8
    assert content.count(offsets.tobytes()) == 1
    content = content.replace(offsets.tobytes(), broken.tobytes())
    answer = service.post(f"/models/{READMISSION}/score", content=content, headers={"content-type": ARROW})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "not_arrow"
