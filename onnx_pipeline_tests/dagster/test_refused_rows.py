"""One slice of a run cannot be scored: its first row is named by its key, and the other slices are loaded."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_pipeline_tests.dagster.conftest import DAYS, MakeSpec, Project, Runner
from onnx_pipeline_tests.engines.conftest import service_over

ENGINES = ("onnxruntime", "sql", *(f"remote {wire}" for wire in ("arrow", "records", "data", "input_data", "v2")))
"""Those of `remote` with the wire by which it asks a service of ours."""
BAD = 75
"""The key of the first bad row; the second day has the keys 50 to 99."""


def by_kind() -> bytes:
    """`score = a` where `kind` is x, and `2 * a` where it is y; the encoder refuses any other kind."""
    nodes = [
        helper.make_node("OneHotEncoder", ["kind"], ["hot"], domain="ai.onnx.ml", cats_strings=["x", "y"], zeros=0),
        helper.make_node("Reshape", ["hot", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["times"]),
        helper.make_node("Mul", ["a", "times"], ["score"]),
    ]
    inputs = [("kind", onnx.TensorProto.STRING), ("a", onnx.TensorProto.FLOAT)]
    graph = helper.make_graph(
        nodes,
        "by_kind",
        [helper.make_tensor_value_info(name, dtype, ["N", 1]) for name, dtype in inputs],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["N", 1])],
        [
            numpy_helper.from_array(np.array([-1, 2], np.int64), "shape"),
            numpy_helper.from_array(np.array([[1], [2]], np.float32), "weights"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


CASES = {
    "unknown category": (
        f"UPDATE visits SET kind = 'zebra' WHERE id IN ({BAD}, 80)",
        (
            f"DataError: visits, partition '2026-01-02': column 'kind' of the row with id = {BAD} holds 'zebra', which the "
            "model refuses (Unknown Category and zeros = 0)"
        ),
    ),
    "beyond float32": (
        f"UPDATE visits SET a = 1e300 WHERE id IN ({BAD})",
        f"DataError: visits, partition '2026-01-02': column 'a' of the row with id = {BAD} is 1e+300, out of the range of float32",
    ),
    "no form for NULL": (
        f"UPDATE visits SET kind = NULL WHERE id IN ({BAD}, 80)",
        f"The first such row is the row with id = {BAD}.",
    ),
    "no prediction": (
        f"UPDATE visits SET a = NULL WHERE id IN ({BAD}, 80)",
        f"score in 2 of 50 rows. The first is the row with id = {BAD}.",
    ),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "by_kind.onnx").write_bytes(by_kind())
    server = service_over(folder)
    yield server.url
    server.end()


@pytest.fixture
def engine_of(request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    def engine(name: str) -> dict[str, Any]:
        kind, _, wire = name.partition(" ")
        if not wire:
            return {"kind": kind}
        path = "v2/models/by_kind/infer" if wire == "v2" else "models/by_kind/score"
        # Several requests of a slice, so that some are under way when one is refused.
        return {"kind": kind, "url": f"{request.getfixturevalue('service')}/{path}", "wire": wire, "batch_rows": 10}

    return engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_the_first_refused_row_is_named_and_the_other_slices_are_loaded(
    case: str,
    engine: str,
    engine_of: Callable[[str], dict[str, Any]],
    project: Project,
    make_spec: MakeSpec,
    runner: Runner,
) -> None:
    statement, said = CASES[case]
    project.put_model(by_kind())
    project.execute("ALTER TABLE visits ALTER a TYPE DOUBLE")
    project.execute(statement)
    spec: Any = make_spec(engine=engine_of(engine))
    result = runner.run(spec, first=DAYS[0], last=DAYS[3])
    failure = runner.failure(result)
    assert said.removeprefix("DataError: ") in failure
    assert failure.partition(": ")[2].startswith("visits, partition '2026-01-02'")
    good = "day <> '2026-01-02'"
    expected = dict(project.execute(f"SELECT id, CASE kind WHEN 'x' THEN a ELSE 2 * a END FROM visits WHERE {good}"))
    found = project.target()
    assert found.keys() == expected.keys() and len(found) == 150
    np.testing.assert_allclose([found[key][0] for key in expected], list(expected.values()), rtol=1e-6)
    assert set(project.log()) == {DAYS[0], DAYS[2], DAYS[3]}
