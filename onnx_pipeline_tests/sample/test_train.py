"""The two shipped models: they are what training gives, and they answer as scikit-learn does."""

import ast
import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest

from onnx_pipeline.sample import MODELS
from onnx_pipeline.sample.encounters import CATEGORIES, FLAGS, NUMBERS, TREE_FEATURES
from onnx_pipeline.sample.train import (
    Metrics,
    encounters,
    fit_length_of_stay,
    fit_readmission,
    readmission_frame,
    train,
    tree_matrix,
)

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

NAMES = ("length_of_stay.onnx", "readmission.onnx")


@pytest.fixture(scope="module")
def fresh() -> pa.Table:
    """20,000 rows that no model was trained on."""
    return encounters(date(2026, 3, 1), days=2, rows_per_day=10_000)


@pytest.fixture(scope="module")
def training_rows() -> pa.Table:
    return encounters(date(2025, 11, 2), days=60)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Metrics]:
    folder = tmp_path_factory.mktemp("models") / "new"
    return folder, train(folder)


def run_length_of_stay(folder: Path, rows: pa.Table) -> np.ndarray:
    """The model run by plain ONNX Runtime, its tensor packed here from the names in the file alone."""
    path = folder / "length_of_stay.onnx"
    names = json.loads(onnx.load(path).metadata_props[0].value)
    nan = [[np.nan if value is None else value for value in rows[name].to_pylist()] for name in names]
    features = np.array(nan, dtype=np.float32).T
    [variable] = ort.InferenceSession(path).run(["variable"], {"features": features})
    return np.asarray(variable)


def run_readmission(folder: Path, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Labels of shape [rows] and the probabilities of both classes, of shape [rows, 2]."""
    feeds: dict[str, Any] = {name: rows[name].cast(pa.float32()).to_numpy()[:, None] for name in NUMBERS}
    feeds |= {name: rows[name].to_numpy()[:, None] for name in FLAGS}
    feeds |= {name: np.array(rows[name].to_pylist(), dtype=object)[:, None] for name in CATEGORIES}
    session = ort.InferenceSession(folder / "readmission.onnx")
    labels, maps = session.run(["label", "probabilities"], feeds)
    return labels, np.array([[row[0], row[1]] for row in maps])


def columns(values: Iterable[ort.NodeArg]) -> list[tuple[str, str, list[int | str | None]]]:
    return [(value.name, value.type, value.shape) for value in values]


def test_the_length_of_stay_model_maps_one_tensor_to_one_number() -> None:
    session = ort.InferenceSession(MODELS / "length_of_stay.onnx")
    assert columns(session.get_inputs()) == [("features", "tensor(float)", [None, 27])]
    assert columns(session.get_outputs()) == [("variable", "tensor(float)", [None, 1])]


def test_the_length_of_stay_model_names_its_columns() -> None:
    [feature_names] = onnx.load(MODELS / "length_of_stay.onnx").metadata_props
    assert feature_names.key == "feature_names"
    assert json.loads(feature_names.value) == list(TREE_FEATURES)


def test_the_readmission_model_has_one_input_per_column_and_scikit_learns_usual_outputs() -> None:
    session = ort.InferenceSession(MODELS / "readmission.onnx")
    assert columns(session.get_inputs()) == [
        *((name, "tensor(float)", [None, 1]) for name in NUMBERS),
        *((name, "tensor(bool)", [None, 1]) for name in FLAGS),
        *((name, "tensor(string)", [None, 1]) for name in CATEGORIES),
    ]
    assert columns(session.get_outputs()) == [
        ("label", "tensor(int64)", [None]),
        ("probabilities", "seq(map(int64,tensor(float)))", []),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_files_are_valid_clean_and_small(name: str) -> None:
    path = MODELS / name
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    domains = [opset.domain for opset in model.opset_import]
    assert domains == ["", "ai.onnx.ml"]
    assert model.doc_string == model.graph.doc_string == ""
    assert model.graph.name == path.stem
    assert path.stat().st_size < 100_000


def test_the_models_beat_a_constant_on_days_they_have_not_seen(retrained: tuple[Path, Metrics]) -> None:
    _, metrics = retrained
    assert 0.5 < metrics.r2 < 0.95
    assert 0.7 < metrics.auc < 0.95
    assert 0 < metrics.mean_absolute_error < 1


def test_a_retrained_length_of_stay_model_predicts_as_the_shipped_one(
    retrained: tuple[Path, Metrics], fresh: pa.Table
) -> None:
    folder, _ = retrained
    shipped = run_length_of_stay(MODELS, fresh)
    np.testing.assert_allclose(run_length_of_stay(folder, fresh), shipped, rtol=1e-5)


def test_a_retrained_readmission_model_predicts_as_the_shipped_one(
    retrained: tuple[Path, Metrics], fresh: pa.Table
) -> None:
    folder, _ = retrained
    labels, probabilities = run_readmission(folder, fresh)
    shipped_labels, shipped_probabilities = run_readmission(MODELS, fresh)
    np.testing.assert_array_equal(labels, shipped_labels)
    np.testing.assert_allclose(probabilities, shipped_probabilities, rtol=1e-5)


def test_training_twice_writes_the_same_bytes(retrained: tuple[Path, Metrics], tmp_path: Path) -> None:
    folder, metrics = retrained
    assert train(tmp_path) == metrics
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == {
        name: (folder / name).read_bytes() for name in NAMES
    }


def test_the_shipped_length_of_stay_model_predicts_as_scikit_learn_does(
    training_rows: pa.Table, fresh: pa.Table
) -> None:
    expected = fit_length_of_stay(training_rows).predict(tree_matrix(fresh))
    predicted = run_length_of_stay(MODELS, fresh)
    assert predicted.shape == (fresh.num_rows, 1)
    assert np.isnan(tree_matrix(fresh)).any(axis=1).mean() > 0.1, "too few NULLs to prove anything"
    np.testing.assert_allclose(predicted[:, 0], expected, rtol=1e-5)


def test_the_shipped_readmission_model_predicts_as_scikit_learn_does(training_rows: pa.Table, fresh: pa.Table) -> None:
    pipeline = fit_readmission(training_rows)
    labels, probabilities = run_readmission(MODELS, fresh)
    np.testing.assert_array_equal(labels, pipeline.predict(readmission_frame(fresh)))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(readmission_frame(fresh)), rtol=1e-5)
    assert set(labels) == {0, 1}


def test_a_row_without_any_lab_value_is_scored_by_the_medians(training_rows: pa.Table, fresh: pa.Table) -> None:
    unknown = fresh.slice(0, 10)
    for name in NUMBERS[1:-1]:
        position = unknown.schema.get_field_index(name)
        field = unknown.schema.field(name)
        unknown = unknown.set_column(position, name, pa.nulls(10, field.type))
    predicted = run_length_of_stay(MODELS, unknown)
    expected = fit_length_of_stay(training_rows).predict(tree_matrix(unknown))
    np.testing.assert_allclose(predicted[:, 0], expected, rtol=1e-5)
    assert np.isfinite(run_readmission(MODELS, unknown)[1]).all()


def test_a_facility_opened_after_training_is_scored_without_a_facility(fresh: pa.Table) -> None:
    position = fresh.schema.get_field_index("facility")
    renamed = fresh.set_column(position, "facility", pa.array(["Seaside"] * fresh.num_rows))
    _, probabilities = run_readmission(MODELS, renamed)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("module", ["__init__", "encounters", "patients", "truth"])
def test_only_training_imports_scikit_learn(module: str) -> None:
    source = (MODELS.parent / f"{module}.py").read_text()
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {name.split(".")[0] for name in imported} & {"sklearn", "skl2onnx", "pandas", "onnx"}
