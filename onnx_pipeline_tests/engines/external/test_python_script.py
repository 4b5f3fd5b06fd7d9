"""The script of the engine `external_python`, run as SQL Server's Python runs it, against plain ONNX Runtime."""

import ast
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.engines.external import python_script
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline_tests.engines.external.as_python import ServersPython
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.models import columns_of, truth
from onnx_pipeline_tests.pools.external_scripts import Answered, Call, ScriptError

SCRIPT = Path(python_script.__file__).read_text(encoding="utf-8")
OPSET = 17
"""What ONNX Runtime for Python 3.7 knows, too, so that these tests may run there."""
TEXTS = ("string", "int64", "uint64")
"""Dtypes whose values go as text: a double does not hold them all."""


@pytest.fixture
def python(servers_python: ServersPython) -> ServersPython:
    return servers_python


def layout(model: bytes, keys: Mapping[str, str], **more: Any) -> str:
    """For a query that gives the keys and then `f0`, `f1`, ..., in the order of the model's inputs."""
    seen = OnnxModel.from_bytes(model)
    inputs, number = [], 0
    for tensor in seen.signature.inputs:
        names = [f"f{number + place}" for place in range(tensor.width or 1)]
        number += len(names)
        told = {"columns": names, "called": [f"column {name}" for name in names], "rank": len(tensor.shape)}
        inputs.append({"name": tensor.name, "dtype": tensor.dtype, **told})
    outputs = [
        {"output": output.name, "index": index, "form": "text" if output.dtype in TEXTS else "number"}
        for output in seen.signature.outputs
        for index in (range(output.width or 1) if len(output.shape) > 1 else [None])
    ]
    told = {"keys": [{"column": name, "called": name, "form": form} for name, form in keys.items()], "outputs": outputs}
    asked = {"batch_rows": 65_536, "fixed_batch": seen.fixed_batch, "threads": 1, "inputs": inputs, **told, **more}
    return json.dumps(asked)


def sent(dtype: str, values: Sequence[Any]) -> pa.Array:
    """A feature as the engine's query gives it."""
    if dtype == "string":
        return pa.array(values, pa.string())
    if dtype in TEXTS:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def run(
    python: ServersPython, model: bytes, table: pa.Table, keys: Mapping[str, str], *, rows: int = 1_000, **more: Any
) -> list[list[Any]]:
    """The columns that come back, over chunks of so many rows."""
    data = OnnxModel.from_bytes(model).normalised
    call = Call(SCRIPT, {"model": data, "layout": layout(model, keys, **more)}, rows)
    found: list[list[Answered]] = []
    with python.task(call, table.schema, 0, 1) as execute:
        for start in range(0, max(table.num_rows, 1), rows):
            found.append(list(execute(table.slice(start, rows))))
    kinds = [[column.kind for column in chunk] for chunk in found]
    assert all(each == kinds[0] for each in kinds), "columns may not change from chunk to chunk"
    return [[value for column in columns for value in column.values] for columns in zip(*found, strict=True)]


def assert_same(found: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Integers beyond a double and texts come as text; numbers as doubles."""
    if any(isinstance(value, str) for value in found):
        assert list(found) == [None if value is None else str(value) for value in wanted]
    else:
        assert [value is None for value in found] == [value is None for value in wanted]
        np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-5, atol=1e-6)


def matrix(rows: int, width: int, seed: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def wide(values: np.ndarray[Any, Any]) -> pa.Table:
    columns = {f"f{place}": sent("float", column.tolist()) for place, column in enumerate(values.T)}
    return pa.table({"k0": pa.array([str(row) for row in range(len(values))]), **columns})


@pytest.mark.parametrize("labels", ["int", "text"])
@pytest.mark.parametrize("kind", ["tree", "logistic"])
@pytest.mark.parametrize("zipmap", [False, True])
def test_labels_and_probabilities_are_those_of_plain_onnx_runtime(
    python: ServersPython, kind: str, labels: str, zipmap: bool
) -> None:
    values = matrix(53, 6)
    model = models.classifier(kind, labels, zipmap=zipmap, opset=OPSET)
    keys, *found = run(python, model, wide(values), {"k0": "text"}, rows=20)
    wanted = columns_of(truth(models.classifier(kind, labels), {"X": values}))
    assert keys == [str(row) for row in range(53)]
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


EVERY = {
    "float": [0.5, -1.25, None, 3.4028234663852886e38],
    "double": [0.1, -1e300, None, 5e-324],
    "bool": [True, False, True, False],
    "string": ["", " é 漢 ", "x'y\"z", "a" * 5_000],
    "int64": [2**53 + 1, -(2**63), 2**63 - 1, 0],
    "int32": [2**31 - 1, -(2**31), 0, 7],
    "int16": [2**15 - 1, -(2**15), 0, 7],
    "int8": [127, -128, 0, 7],
    "uint8": [255, 0, 1, 7],
    "uint16": [2**16 - 1, 0, 1, 7],
    "uint32": [2**32 - 1, 0, 1, 7],
}


@pytest.mark.parametrize("flat", [False, True])
def test_every_dtype_goes_in_and_comes_back_as_it_was(python: ServersPython, flat: bool) -> None:
    codes = {"float": models.FLOAT, "double": models.DOUBLE, "bool": models.BOOL, "string": models.STRING}
    codes |= {dtype: getattr(models, dtype.upper()) for dtype in EVERY if dtype not in codes}
    names = {f"in_{dtype}": code for dtype, code in codes.items()}
    table = pa.table({f"f{place}": sent(dtype, EVERY[dtype]) for place, dtype in enumerate(codes)})
    found = run(python, models.echo(names, flat=flat), table, {}, rows=3)
    for dtype, values in zip(codes, found, strict=True):
        assert values == (list(map(str, EVERY[dtype])) if dtype == "int64" else EVERY[dtype]), dtype


def test_a_row_with_a_null_that_the_model_has_no_form_for_gets_nulls(python: ServersPython) -> None:
    table = pa.table(
        {
            "f0": sent("int64", [1, None, 2**60, 4, None]),
            "f1": sent("string", ["a", "b", None, "d", None]),
            "f2": sent("float", [0.5, None, None, None, 1.5]),
        }
    )
    named = {"a": models.INT64, "b": models.STRING, "c": models.FLOAT}
    found = run(python, models.echo(named), table, {})
    assert found == [["1", None, None, "4", None], ["a", None, None, "d", None], [0.5, None, None, None, None]]
    assert run(python, models.echo(named), table.slice(1, 2), {}) == [[None] * 2] * 3


def test_what_passes_through_passes_exactly(python: ServersPython) -> None:
    texts = ["9007199254740993", None, "", "  ", "NULL", "nan", "é 漢 \u00a0", "-9223372036854775808"]
    numbers = [1.0, None, 2.5, -1e300, 0.1, 5e-324, 2.0**53, 3.0]
    table = pa.table({"k0": pa.array(texts), "k1": pa.array(numbers, pa.float64()), "f0": pa.array([1.0] * 8)})
    keys, beside, _ = run(python, models.echo({"x": models.FLOAT}), table, {"k0": "text", "k1": "number"}, rows=3)
    assert keys == texts
    assert beside == numbers


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([2**53 + 1], pa.int64()), "k0 did not arrive as text but as float64, which may hold another value"),
        (pa.array([7], pa.int32()), "k0 did not arrive as text but as int32"),
    ],
)
def test_a_key_that_the_runtime_made_a_number_of_is_refused(
    python: ServersPython, values: pa.Array, reason: str
) -> None:
    table = pa.table({"k0": values, "f0": pa.array([1.0])})
    with pytest.raises(ScriptError, match=reason):
        run(python, models.echo({"x": models.FLOAT}), table, {"k0": "text"})


def test_a_feature_that_lost_digits_on_its_way_is_refused(python: ServersPython) -> None:
    table = pa.table({"f0": pa.array([2**53 + 1], pa.int64())})
    with pytest.raises(ScriptError, match=r"column f0 arrived as float64 and has values of 2\^53 and beyond"):
        run(python, models.echo({"x": models.INT64}), table, {})


def test_nan_and_infinity_come_back_as_null(python: ServersPython) -> None:
    table = pa.table({"f0": pa.array([1.0, -1.0, 0.0, 6.0]), "f1": pa.array([0.0, 0.0, 0.0, 3.0])})
    assert run(python, models.ratio(), table, {}) == [[None, None, None, 2.0]]


@pytest.mark.parametrize("model", [models.squeezed(), models.quantised()], ids=["squeezed", "quantised"])
def test_a_row_gets_its_own_answer_whatever_the_rows_beside_it(python: ServersPython, model: bytes) -> None:
    values = matrix(7, 2)
    (_, found) = run(python, model, wide(values), {"k0": "text"}, rows=3)
    np.testing.assert_allclose(found, models.one_by_one(model, values), rtol=1e-5)


def test_a_model_of_fixed_batch_gets_full_calls(python: ServersPython) -> None:
    values = matrix(11, 2)
    (_, found) = run(python, models.matrix_sum(2), wide(values), {"k0": "text"}, fixed_batch=4)
    np.testing.assert_allclose(found, values @ np.array([1.0, 2.0]), rtol=1e-5)


def test_a_column_that_moves_nothing_needs_no_value(python: ServersPython) -> None:
    asked = json.loads(layout(models.matrix_sum(2), {}))
    asked["inputs"][0]["columns"][1] = None
    found = run(python, models.matrix_sum(2), pa.table({"f0": [1.5, 2.5]}), {}, inputs=asked["inputs"])
    assert found == [[1.5, 2.5]]


@pytest.mark.parametrize("forgets", [False, True])
def test_answers_are_the_same_whether_globals_outlive_a_chunk(python: ServersPython, forgets: bool) -> None:
    values = matrix(30, 2)
    python.forgets = forgets
    try:
        (keys, found) = run(python, models.matrix_sum(2), wide(values), {"k0": "text"}, rows=7)
    finally:
        python.forgets = False
    assert keys == [str(row) for row in range(30)]
    np.testing.assert_allclose(found, values @ np.array([1.0, 2.0]), rtol=1e-5)


def test_a_task_without_rows_gives_the_columns_of_the_others(python: ServersPython) -> None:
    table = wide(matrix(3, 6)).slice(0, 0)
    found = run(python, models.classifier("tree", "text", opset=OPSET), table, {"k0": "text"})
    assert found == [[]] * 5


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (None, "the parameter @model is NULL: onnx_models has no such row that you may read"),
        (
            b"no model",
            r"of the server's Python 3\.\d+ cannot load the model: .* export the model with an earlier opset",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told(python: ServersPython, model: bytes | None, reason: str) -> None:
    call = Call(SCRIPT, {"model": model, "layout": layout(models.matrix_sum(1), {})}, 10)
    table = pa.table({"f0": [1.0]})
    with (
        python.task(call, table.schema, 0, 1) as execute,
        pytest.raises(ScriptError, match=f"(?s)onnx_pipeline: .*{reason}"),
    ):
        execute(table)


def test_a_release_that_answers_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_script.onnxruntime, "__version__", "1.26.0")
    with pytest.raises(ValueError, match=r"ONNX Runtime 1\.26\.0, which silently gives wrong labels"):
        python_script.session_of(models.matrix_sum(1), 1)


def test_it_is_written_for_the_oldest_python_and_takes_nothing_else_from_there() -> None:
    tree = ast.parse(SCRIPT, feature_version=(3, 7))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {alias.name.split(".")[0] for node in named if isinstance(node, ast.Import) for alias in node.names}
    roots |= {str(node.module).split(".")[0] for node in named if isinstance(node, ast.ImportFrom)}
    assert roots - set(sys.stdlib_module_names) == {"numpy", "pandas", "onnxruntime"}
