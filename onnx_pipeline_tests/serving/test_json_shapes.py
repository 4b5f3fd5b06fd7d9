"""Each JSON shape gives what plain ONNX Runtime gives, in the shape of the request."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import (
    LOS,
    READMISSION,
    features_of,
    feeds_of,
    line_model,
    records_of,
    truth_of,
)


@pytest.fixture
def tree(encounters):
    """Rows of the tree's features as JSON records, and what they are scored as."""
    path = MODELS / f"{LOS}.onnx"
    table = features_of(path, encounters)
    (days,) = truth_of(path, feeds_of(path, table))
    return records_of(table), days[:, 0]


@pytest.fixture
def logistic(encounters):
    path = MODELS / f"{READMISSION}.onnx"
    table = features_of(path, encounters)
    label, probabilities = truth_of(path, feeds_of(path, table))
    # scikit-learn's export gives one dict per row; its keys are the classes.
    return records_of(table), label, np.array([[row[0], row[1]] for row in probabilities])


def test_records_give_records(service, tree):
    rows, truth = tree
    answer = service.score(LOS, rows)
    assert answer.status_code == 200
    assert [list(record) for record in answer.json()] == [["variable"]] * len(rows)
    np.testing.assert_array_equal(np.float32([record["variable"] for record in answer.json()]), truth)


def test_several_outputs_of_one_input_per_column_are_columns(service, logistic):
    rows, label, probabilities = logistic
    answer = service.score(READMISSION, rows).json()
    assert list(answer[0]) == ["label", "probabilities_0", "probabilities_1"]
    np.testing.assert_array_equal([record["label"] for record in answer], label)
    found = [[record["probabilities_0"], record["probabilities_1"]] for record in answer]
    np.testing.assert_allclose(found, probabilities, rtol=1e-6)


def test_data_of_records_gives_data_of_records(service, tree):
    rows, truth = tree
    answer = service.score(LOS, {"data": rows}).json()
    assert list(answer) == ["data"]
    np.testing.assert_array_equal(np.float32([record["variable"] for record in answer["data"]]), truth)


def test_data_of_rows_gives_data_of_rows_with_their_columns(service, logistic):
    rows, label, probabilities = logistic
    answer = service.score(READMISSION, {"data": [list(row.values()) for row in rows]}).json()
    assert answer["columns"] == ["label", "probabilities_0", "probabilities_1"]
    assert [row[0] for row in answer["data"]] == label.tolist()
    np.testing.assert_allclose([row[1:] for row in answer["data"]], probabilities, rtol=1e-6)


def test_input_data_gives_output_data_with_its_index_whatever_the_order_of_columns(service, tree):
    rows, truth = tree
    columns = list(rows[0])
    turned = columns[::-1]
    index = [f"row {number}" for number in range(len(rows))]
    data = [[row[name] for name in turned] for row in rows]
    answer = service.score(LOS, {"input_data": {"columns": turned, "index": index, "data": data}}).json()["output_data"]
    assert answer["index"] == index and answer["columns"] == ["variable"]
    np.testing.assert_array_equal(np.float32(answer["data"])[:, 0], truth)


def test_input_data_without_index_and_columns_counts_rows_and_takes_the_models_columns(service, tree):
    rows, truth = tree
    answer = service.score(LOS, {"input_data": {"data": [list(row.values()) for row in rows[:3]]}}).json()
    assert answer["output_data"]["index"] == [0, 1, 2]
    np.testing.assert_array_equal(np.float32(answer["output_data"]["data"])[:, 0], truth[:3])


@pytest.mark.parametrize(
    ("payload", "empty"),
    [
        ([], []),
        ({"data": []}, {"columns": ["variable"], "data": []}),
        ({"input_data": {"data": []}}, {"output_data": {"columns": ["variable"], "index": [], "data": []}}),
    ],
)
def test_no_rows_give_no_predictions(service, payload, empty):
    answer = service.score(LOS, payload)
    assert answer.status_code == 200 and answer.json() == empty


def test_the_answer_names_the_artifact_that_scored(service, tree):
    import hashlib

    answer = service.score(LOS, tree[0][:1])
    assert answer.headers["x-onnx-model-sha256"] == hashlib.sha256((MODELS / f"{LOS}.onnx").read_bytes()).hexdigest()


def test_columns_that_the_model_does_not_read_are_left_aside(service, tree):
    rows, truth = tree
    answer = service.score(LOS, [{"patient": "x", **rows[0], "ward": 3}]).json()
    assert np.float32(answer[0]["variable"]) == truth[0]


def test_post_score_goes_to_the_only_model_and_to_none_of_several(service, open_service, tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    alone = open_service(tmp_path / "line.onnx")
    assert alone.post("/score", json=[{"a": 3}]).json() == [{"y": 6}]
    refused = service.post("/score", json=[{"a": 3}])
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "model_not_named"


def test_null_is_nan_in_a_float_and_a_prediction_that_is_no_number_is_null(open_service, tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    service = open_service(tmp_path)
    assert service.score("line", [{"a": None}, {"a": 1.5}]).json() == [{"y": None}, {"y": 3}]


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(finite, st.integers(-(2**24), 2**24), st.none(), st.booleans()), max_size=50))
def test_whatever_numbers_go_in_come_out_as_plain_onnxruntime_has_them(values, doubling):
    service, model = doubling
    feed = np.float32([math.nan if value is None else value for value in values]).reshape(-1, 1)
    (truth,) = truth_of(model, {"a": feed})
    expected = [None if not math.isfinite(value) else value for value in truth[:, 0].tolist()]
    assert [record["y"] for record in service.score("line", [{"a": value} for value in values]).json()] == expected
    assert [row[0] for row in service.score("line", {"data": [[value] for value in values]}).json()["data"]] == expected


@pytest.fixture
def doubling(open_service, tmp_path):
    (tmp_path / "line.onnx").write_bytes(line_model(2))
    return open_service(tmp_path), line_model(2)
