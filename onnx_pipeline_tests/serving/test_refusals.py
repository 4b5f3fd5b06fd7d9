"""What a request is told that cannot be scored: status, code, column, row and a sentence; and nothing of the inside."""

import json

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import ARROW, LOS, READMISSION, features_of, records_of


@pytest.fixture
def rows(encounters):
    return records_of(features_of(MODELS / f"{READMISSION}.onnx", encounters))[:5]


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        (3, "age", "old", "is text, and the model takes float"),
        (0, "age", [1], "is a list, and the model takes float"),
        (2, "dialysis", 1, "is a number, and the model takes bool"),
        (2, "dialysis", None, "is null, and bool has no form for a missing value"),
        (4, "facility", 7.5, "is a number, and the model takes string"),
        (1, "facility", None, "is null, and string has no form for a missing value"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column_in_every_shape(service, rows, row, column, value, reason):
    rows[row][column] = value
    columns = list(rows[0])
    values = [list(record.values()) for record in rows]
    for payload in (rows, {"data": rows}, {"data": values}, {"input_data": {"columns": columns, "data": values}}):
        answer = service.score(READMISSION, payload)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "value_misfit")
        assert (error["row"], error["column"]) == (row, column)
        assert f"row {row}, column {column!r} {reason}" in error["message"]


@pytest.mark.parametrize(
    ("payload", "code", "row"),
    [
        ({}, "shape_unknown", None),
        ("text", "shape_unknown", None),
        (True, "shape_unknown", None),
        ([1], "record_expected", 0),
        ([{}, 1], "record_expected", 1),
        ({"data": 3}, "data_misfit", None),
        ({"data": [[1.0] * 27, 3]}, "row_expected", 1),
        ({"data": [[1.0] * 27, [1.0]]}, "row_length", 1),
        ({"data": ["a" * 27]}, "row_expected", 0),
        ({"input_data": []}, "input_data_misfit", None),
        ({"input_data": {"data": [], "columns": [1]}}, "columns_misfit", None),
        ({"input_data": {"data": [[1.0] * 27], "index": [1, 2]}}, "index_misfit", None),
        ({"input_data": {"data": [[1, 2]], "columns": ["age", "age"]}}, "column_twice", None),
        ({"input_data": {"data": [[1]], "columns": ["age"]}}, "column_missing", None),
    ],
)
def test_another_shape_is_refused(service, payload, code, row):
    answer = service.score(LOS, payload)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["row"]) == (400, code, row)


def test_a_record_that_lacks_a_column_is_named(service, rows):
    del rows[3]["gender"]
    error = service.score(READMISSION, rows).json()["error"]
    assert (error["code"], error["column"], error["row"]) == ("column_missing", "gender", 3)


@pytest.mark.parametrize("body", [b"{", b'[{"age": NaN}]', b"\xff\xfe", b"[" * 100_000, b'{"data": [[1e999]]}'])
def test_what_is_no_json_is_refused_with_its_place_and_without_quoting_it(service, body):
    answer = service.post(f"/models/{LOS}/score", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "not_json"
    assert "line 1, column" in answer.json()["error"]["message"]


DEEP = "nested deeper than can be read"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'[{"age": NaN}]', "at line 1, column 10; NaN and Infinity are no JSON, null stands for a missing number"),
        (b'[{"age": -Infinity}]', "NaN and Infinity are no JSON"),
        (b'[\n{"facility": "Z\xfcrich"}]', "byte 17 (line 2, column 16) is 0xfc, which is no UTF-8 there"),
        ('[{"age": 1}]'.encode("utf-16"), "like UTF-16 or UTF-32, and JSON is UTF-8"),
        ('[{"age": 1}]'.encode("utf-16-be"), "like UTF-16 or UTF-32, and JSON is UTF-8"),
        (b"[" * 100_000, DEEP),
        (b"[" * 1100, DEEP),
        (b'[{"age": ' + b"[" * 5000 + b"]" * 5000 + b"}]", DEEP),
        (b'{"a": ":", "b": ' + b"[" * 1010 + b"]" * 1010 + b"}", DEEP),
        (
            b'{"data": [[1, -' + b"9" * 5000 + b"]]}",
            "line 1, column 15 has 5,001 characters, and is beyond what a double",
        ),
        (b'{"data": [[1e999]]}', "beyond what a double holds"),
        (b'[{"age": 1', "it ends at line 1, column 11, before it is whole"),
        (b"[{'age': 1}]", "JSON's texts stand in double quotes"),
        (b'[{"age": True}]', "JSON writes true, false and null"),
        (b'[{"age": 1,}]', "it goes wrong at line 1, column 1"),
    ],
)
def test_what_is_no_json_is_told_why(service, body, says):
    answer = service.post(f"/models/{LOS}/score", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "not_json")
    assert says in error["message"]
    assert ("NaN" in says) == ("NaN" in error["message"])


def test_a_byte_order_mark_before_the_json_is_no_part_of_it(service, rows):
    plain = service.score(READMISSION, rows)
    body = b"\xef\xbb\xbf" + plain.request.content
    marked = service.post(f"/models/{READMISSION}/score", content=body, headers={"content-type": "application/json"})
    assert (marked.status_code, marked.json()) == (200, plain.json())


@pytest.mark.parametrize("spaced", [False, True], ids=["plain", "spaced"])
@pytest.mark.parametrize("shape", ["records", "data", "input_data"])
def test_a_record_with_one_key_twice_is_refused_by_its_name(service, rows, shape, spaced):
    rows[3]["facility"] = 'north: "1"'  # colons in texts count for nothing
    text = json.dumps(rows)
    assert service.score(READMISSION, rows).status_code == 200
    twice = text.replace('"age": ', '"age": 7, "age": ').replace('"age": 7, ', "", 2)  # the third record and on
    if shape == "data":
        twice = f'{{"data": {twice}}}'
    if shape == "input_data":
        split = json.dumps({"columns": list(rows[0]), "data": [list(row.values()) for row in rows]})
        twice = f'{{"input_data": {split}, "input_data": {split}}}'
    body = twice.replace('":', '" \n :') if spaced else twice
    answer = service.post(
        f"/models/{READMISSION}/score", content=body.encode(), headers={"content-type": "application/json"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "key_twice")
    if shape == "input_data":
        assert error["message"].startswith("an object of the request has the key 'input_data' twice")
    else:
        assert (error["row"], error["column"]) == (2, "age")
        assert error["message"].startswith("row 2 has the key 'age' twice")


def test_an_empty_body_is_said_to_be_empty(service):
    answer = service.post(f"/models/{LOS}/score", content=b"", headers={"content-type": "application/json"})
    assert answer.status_code == 400 and "the body is empty" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded", "application/vnd.apache.arrow.file"])
def test_another_content_type_is_415(service, kind):
    answer = service.post(f"/models/{LOS}/score", content=b"[]", headers={"content-type": kind})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 415 and ARROW in message and f"the Content-Type is {kind};" in message


def test_a_content_type_that_is_no_media_type_does_not_come_back(service):
    answer = service.post(f"/models/{LOS}/score", content=b"[]", headers={"content-type": "<script>/x"})
    assert answer.status_code == 415 and "script" not in answer.text


def test_a_compressed_body_is_415(service):
    answer = service.post(f"/models/{LOS}/score", json=[], headers={"content-encoding": "gzip"})
    assert answer.status_code == 415 and answer.json()["error"]["code"] == "content_encoding_unknown"


def test_an_unknown_model_is_404_and_does_not_come_back_in_the_answer(service):
    answer = service.score("<script>", [])
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_unknown"
    assert "script" not in answer.text


def test_a_model_that_is_misspelt_is_answered_with_the_nearest(service):
    assert f"did you mean '{LOS}'?" in service.score("lenght_of_stay", []).json()["error"]["message"]


def test_an_unknown_path_is_404_and_another_method_405_with_the_ones_it_takes(service):
    assert service.get("/nothing").json()["error"]["code"] == "path_unknown"
    refused = service.get(f"/models/{LOS}/score")
    assert refused.status_code == 405 and refused.headers["allow"] == "POST"


def test_a_request_that_expects_another_version_of_the_model_is_409(service, rows):
    answer = service.score(READMISSION, rows, **{"x-onnx-model-sha256": "0" * 64})
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "model_differs"
    expected = answer.headers["x-onnx-model-sha256"]
    assert expected in answer.json()["error"]["message"]
    assert service.score(READMISSION, rows, **{"x-onnx-model-sha256": expected}).status_code == 200


def test_the_request_id_comes_back_where_it_is_one_and_is_made_where_it_is_not(service):
    assert service.score(LOS, [], **{"x-request-id": "run-7:3"}).headers["x-request-id"] == "run-7:3"
    refused = service.score(LOS, {}, **{"x-request-id": "a b\tc"})
    assert refused.headers["x-request-id"] == refused.json()["request_id"] != "a b\tc"


@pytest.mark.parametrize("bad", [0, 1, 57, 99])
def test_a_row_that_the_model_refuses_is_found_and_the_graph_is_not_shown(gather, bad):
    indices = [0, 1, 2] * 33 + [1]
    assert gather.score("gather", [{"i": index} for index in indices[:4]]).json()[3] == {"y": 10}
    indices[bad] = 7
    for answer in (
        gather.score("gather", [{"i": index} for index in indices]),
        gather.arrow("gather", pa.table({"i": indices})),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["row"]) == (400, "row_refused", bad)
        assert "Gather" not in answer.text and "onnxruntime" not in answer.text


def test_whole_numbers_written_with_a_point_are_integers_and_fractions_are_not(gather):
    assert gather.score("gather", [{"i": 2.0}]).json() == [{"y": 30}]
    error = gather.score("gather", [{"i": 0}, {"i": 1.5}]).json()["error"]
    assert (error["row"], error["column"]) == (1, "i") and "fraction" in error["message"]
    error = gather.score("gather", [{"i": 2**63}]).json()["error"]
    assert "is 9223372036854775808, and int64 holds -9223372036854775808 to" in error["message"]


def test_missing_values_in_a_tree_that_tracks_none_are_refused_unless_accepted(open_service, tmp_path):
    from skl2onnx import to_onnx
    from sklearn.tree import DecisionTreeRegressor

    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    rows[::7, 0] = np.nan
    tree = DecisionTreeRegressor(max_depth=4).fit(rows, np.nan_to_num(rows[:, 0]) + rows[:, 1])
    (tmp_path / "tree.onnx").write_bytes(to_onnx(tree, rows[:1]).SerializeToString())
    service = open_service(tmp_path)
    columns = service.get("/models/tree").json()["features"]
    names = [column["name"] for column in columns]
    records = [dict(zip(names, values, strict=True)) for values in ([1.0, 2.0], [None, 2.0])]
    table = pa.Table.from_pylist(records, pa.schema([(name, pa.float32()) for name in names]))
    body = {"inputs": [{"name": "X", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 2.0, None, 2.0]}]}
    accepted = {"x-onnx-nulls": "nan"}
    for answer in (service.score("tree", records), service.arrow("tree", table)):
        error = answer.json()["error"]
        assert (error["code"], error["column"], error["row"]) == ("value_missing", names[0], 1)
        assert "x-onnx-nulls: nan" in error["message"]
    refused = service.post("/v2/models/tree/infer", json=body).json()
    assert (refused["code"], refused["column"], refused["row"]) == ("value_missing", names[0], 1)
    for answer in (
        service.score("tree", records, **accepted),
        service.arrow("tree", table, **accepted),
        service.post("/v2/models/tree/infer", json=body, headers=accepted),
    ):
        assert answer.status_code == 200
    assert service.score("tree", records, **{"x-onnx-nulls": "0"}).json()["error"]["code"] == "header_misfit"


def test_a_failure_that_nobody_foresaw_is_500_without_its_text(service, monkeypatch, caplog):
    from onnx_pipeline.serving.served import ServedModel

    def fail(*_):
        raise RuntimeError("secret value 4711")

    monkeypatch.setattr(ServedModel, "run", fail)
    answer = service.score(LOS, [dict.fromkeys(service.app.catalogue.get(LOS).columns, 1.0)])
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    assert "4711" not in answer.text + caplog.text
    (crash,) = [record for record in caplog.records if record.getMessage() == "request_crashed"]
    assert crash.request_id == answer.headers["x-request-id"] and crash.error == "RuntimeError"
