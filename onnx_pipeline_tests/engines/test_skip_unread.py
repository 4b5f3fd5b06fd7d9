"""`skip_unread`: columns that move no prediction neither leave the pool nor travel, and answers are the same."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from onnx_pipeline.base.errors import ServiceError
from onnx_pipeline_tests.engines.conftest import Run, Server, StartServer, remote, service_over, spec_of
from onnx_pipeline_tests.engines.parity import Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import DuckDBGround

NAMES = [f"f{place}" for place in range(12)]


def features() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(500, len(NAMES))).astype(np.float32)


def _named(model: Any) -> bytes:
    """With the names of its columns, as the sample's models have them."""
    entry = model.metadata_props.add()
    entry.key, entry.value = "feature_names", json.dumps(NAMES)
    return bytes(model.SerializeToString())


def tree() -> Any:
    """Reads two of twelve columns."""
    matrix = features()
    fitted = DecisionTreeRegressor(max_depth=2, random_state=0).fit(matrix, np.sign(matrix[:, 3]) + (matrix[:, 8] > 0))
    return to_onnx(fitted, matrix[:1])


def labels() -> Any:
    """Text labels and probabilities, from two of twelve columns behind a scaler."""
    matrix = features()
    answers = np.where(matrix[:, 1] + matrix[:, 2] > matrix[:, 10], "stays", "goes")
    fitted = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=2, random_state=0)).fit(matrix, answers)
    return to_onnx(fitted, matrix[:1], options={"zipmap": False})


def line() -> Any:
    """Weights of zero: a missing value would still move the prediction, so every column travels."""
    matrix = features()
    fitted = LogisticRegression(l1_ratio=1, solver="liblinear", C=0.05, random_state=0).fit(matrix, matrix[:, 5] > 0)
    assert (fitted.coef_ == 0).sum() > 2
    return to_onnx(fitted, matrix[:1], options={"zipmap": False})


def picked() -> Any:
    """Eleven of twelve columns."""
    places = numpy_helper.from_array(np.array([place for place in range(12) if place != 4]), "places")
    weights = numpy_helper.from_array(np.linspace(-2, 3, 11, dtype=np.float32).reshape(11, 1), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "places"], ["some"], axis=1),
            helper.make_node("MatMul", ["some", "weights"], ["y"]),
        ],
        "picked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [places, weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def kinds() -> bytes:
    """Inputs of several dtypes, of which the prediction takes one."""
    dtypes = {
        "single": TensorProto.FLOAT, "other": TensorProto.FLOAT, "whole": TensorProto.INT64,
        "flag": TensorProto.BOOL, "ward": TensorProto.STRING,
    }  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Add", ["other", "other"], ["y"])],
        "kinds",
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in dtypes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


MODELS: dict[str, Callable[[], bytes]] = {
    "tree": lambda: _named(tree()),
    "unnamed": lambda: bytes(tree().SerializeToString()),
    "labels": lambda: _named(labels()),
    "line": lambda: _named(line()),
    "picked": lambda: bytes(picked().SerializeToString()),
    "kinds": kinds,
}
LEFT = {"tree": 10, "unnamed": 10, "labels": 10, "line": 0, "picked": 1, "kinds": 4}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    for name, make in MODELS.items():
        (folder / f"{name}.onnx").write_bytes(make())
    server = service_over(folder)
    yield server
    server.end()


def table(name: str) -> pa.Table:
    keys = rows(gaps=False).select(["id", "part"])
    generator = np.random.default_rng(5)
    count = keys.num_rows
    if name == "kinds":
        columns = {
            "single": pa.array(generator.normal(size=count).astype(np.float32)),
            "other": pa.array(generator.normal(size=count).astype(np.float32)),
            "whole": pa.array(generator.integers(0, 9, count)),
            "flag": pa.array(generator.integers(0, 2, count).astype(bool)),
            "ward": pa.array([f"ward {place % 3}" for place in range(count)]),
        }
    else:
        columns = {each: pa.array(generator.normal(size=count).astype(np.float32)) for each in NAMES}
    for each, values in columns.items():
        keys = keys.append_column(each, values)
    return keys


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_the_same_and_less_travels(name: str, service: Server, tmp_path: Path) -> None:
    case = Case(MODELS[name], None if name == "kinds" else NAMES, gaps=False)
    sent = {}
    for skip in (False, True):
        ground = DuckDBGround(tmp_path / str(skip))
        ground.store("rows", table(name))
        one = Scored(ground, tmp_path / str(skip), case, engine(service, name, skip_unread=skip))
        assert len(one.plan.unread) == (LEFT[name] if skip else 0)
        sent[skip] = sum(found["engine"]["bytes_sent"] for found in one.run().values())
        one.assert_right(table(name))
    assert (sent[True] < sent[False]) == (LEFT[name] > 0)


def engine(service: Server, name: str, **options: Any) -> dict[str, Any]:
    return {"kind": "remote", "url": f"{service.url}/models/{name}/score", **options}


def test_a_service_that_does_not_say_which_model_it_has_is_refused(start_server: StartServer, run: Run) -> None:
    run(remote(start_server().url))
    with pytest.raises(ServiceError, match="does not state which model it has.*Take `skip_unread` out"):
        run(remote(start_server().url, skip_unread=True))
    run(remote(start_server(sha256=run.model.sha256).url, skip_unread=True))
    run.assert_all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wire": "records"}, "skip_unread goes with `wire: arrow`, and the wire is records"),
        ({"onnx": None}, "skip_unread needs `onnx`"),
    ],
)
def test_where_it_cannot_be_the_spec_says_so(options: dict[str, Any], words: str) -> None:
    onnx = {key: options.pop(key) for key in ("onnx",) if key in options}
    with pytest.raises(ValueError, match=words):
        spec_of(remote("http://127.0.0.1:9/score", skip_unread=True, **options), **onnx)
