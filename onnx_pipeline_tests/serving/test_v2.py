"""The Open Inference Protocol v2, as its clients speak it."""

import json
import struct

import numpy as np
import pytest

from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests.serving.conftest import LOS, READMISSION, features_of, feeds_of, truth_of

DATATYPES = {"float32": "FP32", "bool": "BOOL", "object": "BYTES"}


def tensors_of(feeds):
    return [
        {
            "name": name,
            "shape": list(values.shape),
            "datatype": DATATYPES[str(values.dtype)],
            "data": [None if value != value else value for value in values.ravel().tolist()],
        }
        for name, values in feeds.items()
    ]


@pytest.fixture
def tree(encounters):
    path = MODELS / f"{LOS}.onnx"
    feeds = feeds_of(path, features_of(path, encounters))
    return feeds, truth_of(path, feeds)[0]


@pytest.fixture
def logistic(encounters):
    path = MODELS / f"{READMISSION}.onnx"
    feeds = feeds_of(path, features_of(path, encounters))
    label, probabilities = truth_of(path, feeds)
    return feeds, label, np.float32([[row[0], row[1]] for row in probabilities])


def test_tensors_in_give_tensors_out(service, logistic):
    feeds, label, probabilities = logistic
    answer = service.post(f"/v2/models/{READMISSION}/infer", json={"id": "42", "inputs": tensors_of(feeds)}).json()
    assert (answer["id"], answer["model_name"]) == ("42", READMISSION)
    first, second = answer["outputs"]
    assert (first["name"], first["datatype"], first["shape"], first["data"]) == (
        "label", "INT64", [200], label.tolist(),
    )  # fmt: skip
    assert (second["name"], second["datatype"], second["shape"]) == ("probabilities", "FP32", [200, 2])
    np.testing.assert_allclose(second["data"], probabilities.ravel(), rtol=1e-6)


def test_nested_data_are_the_same_rows(service, tree):
    feeds, truth = tree
    (tensor,) = tensors_of(feeds)
    tensor["data"] = [tensor["data"][start : start + 27] for start in range(0, len(tensor["data"]), 27)]
    (output,) = service.post(f"/v2/models/{LOS}/infer", json={"inputs": [tensor]}).json()["outputs"]
    np.testing.assert_array_equal(np.float32(output["data"]), truth.ravel())


def test_one_input_per_column_fills_a_matrix(service, tree, encounters):
    table = features_of(MODELS / f"{LOS}.onnx", encounters)
    inputs = tensors_of({name: table[name].to_numpy().reshape(-1, 1) for name in table.column_names})
    (output,) = service.post(f"/v2/models/{LOS}/infer", json={"inputs": inputs}).json()["outputs"]
    np.testing.assert_array_equal(np.float32(output["data"]), tree[1].ravel())


def test_only_the_outputs_asked_for_come(service, logistic):
    body = {"inputs": tensors_of(logistic[0]), "outputs": [{"name": "label"}]}
    answer = service.post(f"/v2/models/{READMISSION}/infer", json=body).json()
    assert [output["name"] for output in answer["outputs"]] == ["label"]


def binary(values):
    if values.dtype != object:
        return values.tobytes()
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values.ravel())


def test_binary_data_in_and_out(service, logistic):
    """The form that Triton's client sends unless it is told not to."""
    feeds, label, probabilities = logistic
    blobs = {name: binary(values) for name, values in feeds.items()}
    inputs = tensors_of(feeds)
    for tensor in inputs:
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(blobs[tensor["name"]])}
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    answer = service.post(
        f"/v2/models/{READMISSION}/infer",
        content=head + b"".join(blobs.values()),
        headers={"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"},
    )
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    response = json.loads(answer.content[:length])
    assert response["outputs"][0]["parameters"] == {"binary_data_size": probabilities.nbytes}
    found = np.frombuffer(answer.content[length:], "<f4").reshape(-1, 2)
    np.testing.assert_allclose(found, probabilities, rtol=1e-6)
    assert response["outputs"][1]["data"] == label.tolist()


def test_metadata_says_what_to_send(service):
    from onnx_pipeline.models import OnnxModel

    answer = service.get(f"/v2/models/{READMISSION}").json()
    sha256 = OnnxModel.load(MODELS / f"{READMISSION}.onnx").sha256
    assert (answer["name"], answer["versions"], answer["platform"]) == (READMISSION, [sha256[:12]], "onnxruntime_onnx")
    assert answer["inputs"][0] == {"name": "age", "datatype": "FP32", "shape": [-1, 1]}
    probabilities = answer["outputs"][1]
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [-1, 2])
    assert probabilities["parameters"] == {"labels": ["0", "1"]}
    for version in (sha256[:12], sha256):
        assert service.get(f"/v2/models/{READMISSION}/versions/{version}/ready").json() == {
            "name": READMISSION,
            "ready": True,
        }
    assert service.get(f"/v2/models/{READMISSION}/versions/1").status_code == 404


def test_health_and_server_metadata(service):
    assert service.get("/v2/health/live").json()["live"] is True
    assert service.get("/v2/health/ready").json()["ready"] is True
    assert service.get("/v2").json()["name"] == "onnx-pipeline"


def one(**changes):
    return {"name": "features", "shape": [1, 27], "datatype": "FP32", "data": [1.0] * 27, **changes}


def test_an_input_that_is_missing_among_several_is_named(service, logistic):
    inputs = tensors_of(logistic[0])
    gone = inputs.pop(1)["name"]
    answer = service.post(f"/v2/models/{READMISSION}/infer", json={"inputs": inputs}).json()
    assert (answer["code"], answer["column"]) == ("input_unknown", gone)
    assert answer["error"].startswith(f"input {gone!r} is missing; it takes ")
    inputs[0]["name"] = "other"
    answer = service.post(f"/v2/models/{READMISSION}/infer", json={"inputs": inputs}).json()
    assert "are missing, and input 'other' is not the model's" in answer["error"]


def test_a_column_that_is_missing_among_several_is_named(service, encounters):
    table = features_of(MODELS / f"{LOS}.onnx", encounters)
    inputs = tensors_of({name: table[name].to_numpy().reshape(-1, 1) for name in table.column_names})
    gone = inputs.pop(3)["name"]
    answer = service.post(f"/v2/models/{LOS}/infer", json={"inputs": inputs}).json()
    assert (answer["code"], answer["column"]) == ("input_unknown", gone)
    assert answer["error"].startswith(f"input {gone!r} is missing")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/a/b/c", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/v2/models/nothing/ready", 404),
        ("GET", f"/v2/models/{LOS}/infer", 405),
        ("POST", "/v2", 405),
    ],
)
def test_an_error_is_text_at_every_path_of_the_protocol(service, method, path, status):
    answer = service.request(method, path)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


def test_an_error_is_no_text_beside_the_protocols_paths(service):
    assert service.get("/v2nothing").json()["error"]["code"] == "path_unknown"


def test_a_key_that_a_request_has_twice_is_named(service):
    body = json.dumps({"inputs": [one()]}).replace('"shape"', '"shape": [2, 27], "shape"')
    answer = service.post(f"/v2/models/{LOS}/infer", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("an object of the request has the key 'shape' twice")


@pytest.mark.parametrize(
    ("inputs", "code", "column", "row"),
    [
        ("text", "shape_unknown", None, None),
        ([{"name": 3}], "shape_unknown", None, None),
        ([one(name="other")], "input_unknown", "features", None),
        ([one(), one()], "input_twice", None, None),
        ([one(), one(name="b")], "input_unknown", None, None),
        ([one(datatype="FP99")], "datatype_unknown", "features", None),
        ([one(shape=[27])], "shape_misfit", "features", None),
        ([one(shape=[1, 26])], "shape_misfit", "features", None),
        ([one(shape=[2, 27])], "shape_misfit", "features", None),
        ([one(shape=[1, -1])], "shape_misfit", "features", None),
        ([one(shape=[10**30, 27])], "shape_misfit", "features", None),
        ([one(data="x")], "data_misfit", "features", None),
        ([one(shape=[2, 27], data=[[1.0] * 27, [1.0] * 26])], "shape_misfit", "features", None),
        ([one(shape=[2, 27], data=[[1.0] * 27, [1.0, "x"] + [1.0] * 25])], "value_misfit", "heart_rate", 1),
        ([one(data=None, parameters={"binary_data_size": 108})], "binary_misfit", None, None),
    ],
)
def test_wrong_inputs_are_refused_in_the_protocols_form(service, inputs, code, column, row):
    answer = service.post(f"/v2/models/{LOS}/infer", json={"inputs": inputs})
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert isinstance(body["error"], str)
    assert (body["code"], body["column"], body["row"]) == (code, column, row)


def test_another_datatype_is_taken_by_the_rules_of_every_other_way(service):
    values = np.arange(27, dtype=np.float64)

    def infer(values):
        tensor = one(datatype="FP64", parameters={"binary_data_size": values.nbytes})
        del tensor["data"]
        head = json.dumps({"inputs": [tensor]}).encode()
        return service.post(
            f"/v2/models/{LOS}/infer", content=head + values.tobytes(),
            headers={"inference-header-content-length": str(len(head))},
        )  # fmt: skip

    assert infer(values).status_code == 200
    values[4] = 0.1
    assert infer(values).status_code == 200
    values[4] = 1e39
    body = infer(values).json()
    assert (body["code"], body["column"], body["row"]) == ("value_misfit", "respiratory_rate", 0)
