"""Columns go by name wherever there are names; by order only where the request or its shape says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.serving.column_names import parse_features
from onnx_pipeline_tests.serving.conftest import Open, Service, serving, table_of, truth_of

NAMES = ["p", "q", "r"]
IN_ORDER = {"x-onnx-columns": "in-order"}
ROWS: npt.NDArray[np.float32] = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def plane() -> bytes:
    """A model over an input `X` of three columns without names, which weigh 1, 2 and 3."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    model: bytes = to_onnx(LinearRegression().fit(ROWS, ROWS @ [1, 2, 3]), ROWS[:1]).SerializeToString()
    return model


@pytest.fixture
def file(tmp_path: Path, plane: bytes) -> Path:
    path = tmp_path / "plane.onnx"
    path.write_bytes(plane)
    return path


@pytest.fixture
def truth(plane: bytes) -> npt.NDArray[np.float32]:
    answer: npt.NDArray[np.float32] = truth_of(plane, {"X": ROWS})[0][:, 0]
    return answer


def records(names: list[str], order: list[int]) -> list[dict[str, float]]:
    return [{names[place]: float(row[place]) for place in order} for row in ROWS]


def split(names: list[str], order: list[int]) -> dict[str, Any]:
    data = [[float(row[place]) for place in order] for row in ROWS]
    return {"input_data": {"columns": [names[place] for place in order], "data": data}}


def table(names: list[str], order: list[int]) -> pa.Table:
    return pa.table({names[place]: np.ascontiguousarray(ROWS[:, place]) for place in order})


def predicted(payload: Any) -> list[float]:
    if isinstance(payload, dict):
        return [row[0] for row in payload["output_data"]["data"]]
    return [record["variable"] for record in payload]


Ways = Callable[..., Any]
ORDERS = [[0, 1, 2], [2, 0, 1]]


def ask(service: Service, way: str, names: list[str], order: list[int], headers: dict[str, str]) -> Any:
    if way == "arrow":
        return service.arrow("plane", table(names, order), **headers)
    return service.score("plane", (records if way == "records" else split)(names, order), **headers)


def answers(way: str, response: Any) -> list[float]:
    assert response.status_code == 200, response.text
    if way == "arrow":
        found: list[float] = table_of(response.content)["variable"].to_pylist()
        return found
    return predicted(response.json())


@pytest.mark.parametrize("way", ["records", "split", "arrow"])
class TestEveryShapeWithNames:
    @pytest.mark.parametrize("order", ORDERS)
    def test_names_that_nobody_knows_are_refused_with_those_that_can_be_sent(
        self, open_service: Open, file: Path, way: str, order: list[int]
    ) -> None:
        response = ask(open_service(file), way, NAMES, order, {})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "columns_unnamed")
        for said in ("X_0, X_1, X_2", "--features", '{"data": [[...], ...]}', "x-onnx-columns: in-order"):
            assert said in error["message"]

    @pytest.mark.parametrize("order", ORDERS)
    def test_the_names_of_the_places_are_names(
        self, open_service: Open, file: Path, truth: Any, way: str, order: list[int]
    ) -> None:
        response = ask(open_service(file), way, ["X_0", "X_1", "X_2"], order, {})
        np.testing.assert_allclose(answers(way, response), truth, rtol=1e-5)

    @pytest.mark.parametrize("order", ORDERS)
    def test_the_services_names_are_names(
        self, open_service: Open, file: Path, truth: Any, way: str, order: list[int]
    ) -> None:
        service = open_service(file, features=parse_features(["p,q,r"]))
        np.testing.assert_allclose(answers(way, ask(service, way, NAMES, order, {})), truth, rtol=1e-5)
        error = ask(service, way, ["p", "q", "s"], order, {}).json()["error"]
        assert (error["code"], error["column"]) == ("column_missing", "r")

    def test_who_says_that_the_columns_are_in_order_is_believed(
        self, open_service: Open, file: Path, truth: Any, way: str
    ) -> None:
        service = open_service(file)
        np.testing.assert_allclose(answers(way, ask(service, way, NAMES, ORDERS[0], IN_ORDER)), truth, rtol=1e-5)
        few = ask(service, way, NAMES, [0, 1], IN_ORDER).json()["error"]
        assert few["code"] == "columns_do_not_fit" and "3 columns" in few["message"]

    def test_two_orders_of_the_same_names_are_refused(self, open_service: Open, file: Path, way: str) -> None:
        service = open_service(file, features=parse_features(["p,q,r"]))
        response = ask(service, way, NAMES, ORDERS[1], IN_ORDER)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (409, "columns_conflict")
        assert "r, p, q" in error["message"] and "p, q, r" in error["message"]


def test_rows_without_names_go_by_order(open_service: Open, file: Path, truth: Any) -> None:
    service = open_service(file)
    rows = service.score("plane", {"data": ROWS.tolist()}).json()
    np.testing.assert_allclose([row[0] for row in rows["data"]], truth, rtol=1e-5)
    rows = service.score("plane", {"input_data": {"data": ROWS.tolist()}}).json()
    np.testing.assert_allclose(predicted(rows), truth, rtol=1e-5)


def test_a_header_of_another_value_is_refused(open_service: Open, file: Path) -> None:
    response = open_service(file).score("plane", {"data": ROWS.tolist()}, **{"x-onnx-columns": "by-name"})
    assert response.status_code == 400 and "in-order" in response.json()["error"]["message"]


def test_the_document_and_the_pages_say_the_services_names(open_service: Open, file: Path) -> None:
    service = open_service(file.parent, features=parse_features(["plane=p,q,r"]))
    assert [feature["name"] for feature in service.get("/models/plane").json()["features"]] == NAMES
    assert service.get("/v2/models/plane").json()["inputs"][0]["parameters"]["columns"] == NAMES
    body = service.get("/openapi.json").json()["paths"]["/models/plane/score"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["anyOf"][0]["items"]["required"] == NAMES


def test_too_few_names_fail_that_model_and_no_other(open_service: Open, file: Path, plane: bytes) -> None:
    file.with_name("other.onnx").write_bytes(plane)
    service = open_service(file.parent, features=parse_features(["plane=p,q"]))
    states = {model["name"]: model["state"] for model in service.get("/models").json()["models"]}
    assert states == {"plane": "failed", "other": "ready"}
    assert service.score("other", {"data": ROWS.tolist()}).status_code == 200


def test_names_come_from_the_command_line_and_from_a_file(file: Path, truth: Any, tmp_path: Path) -> None:
    import requests

    (tmp_path / "names.json").write_text(json.dumps({"plane": {"X": NAMES}}))
    for given in ("p,q,r", str(tmp_path / "names.json")):
        with serving("--models", str(file), "--features", given) as (url, _):
            answer = requests.post(f"{url}/score", json=records(NAMES, ORDERS[1]), timeout=60)
        np.testing.assert_allclose(predicted(answer.json()), truth, rtol=1e-5)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a,,b"], "no list of columns"),
        (["los=a,a"], "'a' twice"),
        (["los=a", "los=b"], "'los' twice"),
        (['{"los": ["a"], "los": ["b"]}'], "'los' twice"),
        (["nowhere.json"], "nowhere.json, which cannot be read"),
        (["{nonsense"], "no JSON"),
        (['{"los": [1]}'], "'los'"),
        (['{"los": {"X": []}}'], "'los'"),
    ],
)
def test_names_that_cannot_be_are_refused(texts: list[str], said: str) -> None:
    with pytest.raises(SpecError, match="--feature|JSON") as refused:
        parse_features(texts)
    assert said in str(refused.value)


def test_a_list_for_a_folder_of_models_says_no_model(open_service: Open, file: Path) -> None:
    with pytest.raises(SpecError, match="--features says no model"):
        open_service(file.parent, features=parse_features(["p,q,r"]))


def test_names_for_a_model_that_is_not_served_are_told_with_the_nearest(open_service, file, caplog):
    service = open_service(file.parent, features=parse_features(["plaen=p,q,r"]))
    (found,) = [record for record in caplog.records if record.message == "features_unused"]
    assert found.why == (
        "--features names the columns of 'plaen', and no model of that name is served yet; did you mean 'plane'?"
    )
    assert service.score("plane", {"data": [[1.0, 2.0, 3.0]]}).status_code == 200
