"""Models by other libraries' exporters, against what the libraries answered; `exported/make.py` made both."""

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor

from onnx_pipeline.base.errors import NullFeatureError, UnsupportedModelError
from onnx_pipeline.models import OnnxModel

EXPORTED = Path(__file__).parent / "exported"
NAMES = list("abcd")

# skl2onnx hands numpy integers to protobuf
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def recorded():
    return json.loads((EXPORTED / "answers.json").read_text())


@pytest.fixture(scope="module")
def holed(recorded):
    return pd.DataFrame(recorded["rows"], columns=NAMES, dtype=float)


def read(name):
    return onnx.load(EXPORTED / f"{name}.onnx")


def tracks(model):
    (trees,) = (node for node in model.graph.node if node.op_type.startswith("TreeEnsemble"))
    (found,) = (attribute.ints for attribute in trees.attribute if attribute.name == "nodes_missing_value_tracks_true")
    return sum(found)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in EXPORTED.glob("*.onnx") if path.stem != "lightgbm_zero_as_missing")
)
def test_what_routes_missing_values_as_its_library_is_scored_with_them(recorded, holed, name):
    assert holed.isna().to_numpy().any(axis=1).sum() > 20
    model = OnnxModel.load(EXPORTED / f"{name}.onnx")
    assert model.unsafe_nulls == frozenset()
    scored = model.score(holed, features=NAMES)
    np.testing.assert_allclose(scored.iloc[:, 0], recorded["answers"][name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["catboost_min_holed", "catboost_forbidden_whole", "xgboost_whole", "lightgbm_untracked"]
)
def test_some_of_them_track_at_no_node(name):
    assert tracks(read(name)) == 0


@pytest.mark.parametrize("name", ["catboost_min_holed", "xgboost_whole"])
def test_they_are_known_by_their_comparisons_inside_a_graph_of_skl2onnx(recorded, holed, name):
    proto = read(name)
    proto.producer_name, proto.producer_version = "skl2onnx", "1.20.0"
    scored = OnnxModel.from_bytes(proto.SerializeToString()).score(holed, features=NAMES)
    np.testing.assert_allclose(scored.iloc[:, 0], recorded["answers"][name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("producer", "version", "message"),
    [
        ("hand-made", "3", r"of its exporter \(hand-made 3\) it is not known"),
        ("", "", r"of its exporter \(the model names none\) it is not known"),
        ("OnnxMLTools", "1.7.0", r"of its exporter \(OnnxMLTools 1\.7\.0\) it is not known"),
        ("skl2onnx", "1.20.0", "skl2onnx drops the routing that scikit-learn learned"),
    ],
)
def test_of_another_exporter_nothing_is_told_that_is_skl2onnxs_alone(holed, producer, version, message):
    proto = read("lightgbm_untracked")
    proto.producer_name, proto.producer_version = producer, version
    model = OnnxModel.from_bytes(proto.SerializeToString())
    with pytest.raises(NullFeatureError, match=f"without missing-value tracking: .*{message}") as refused:
        model.score(holed, features=NAMES)
    assert ("skl2onnx" in str(refused.value)) == (producer == "skl2onnx")


def test_catboosts_page_about_its_build_is_not_shown():
    assert "\n" in read("catboost_min_whole").producer_version
    assert OnnxModel.load(EXPORTED / "catboost_min_whole.onnx").producer == "CatBoost"


def test_zero_as_missing_is_lost_by_the_exporter_and_nothing_in_the_graph_tells(recorded, holed):
    scored = OnnxModel.load(EXPORTED / "lightgbm_zero_as_missing.onnx").score(holed, features=NAMES)
    answers = recorded["answers"]["lightgbm_zero_as_missing"]
    differ = ~np.isclose(scored.iloc[:, 0], answers, rtol=1e-5, atol=1e-5)
    has_zero = (holed == 0).to_numpy().any(axis=1)
    assert differ.sum() > 3
    assert not differ[~has_zero].any()  # docs/models.md tells what to do


@pytest.mark.parametrize("categories", [5, 40, pytest.param(20, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("kind", [HistGradientBoostingRegressor, HistGradientBoostingClassifier])
def test_categorical_splits_that_skl2onnx_lost_are_refused(plain_run, categories, kind):
    generator = np.random.default_rng(0)
    codes = generator.integers(0, categories, 1000)
    rows = np.c_[generator.normal(size=1000), codes].astype(np.float32)
    target = generator.normal(size=categories)[codes] * 3 + rows[:, 0]
    if kind is HistGradientBoostingClassifier:
        target = target > 0
    boosting = kind(max_iter=10, categorical_features=[1]).fit(rows, target)
    data = to_onnx(
        boosting, rows[:1], **({} if kind is HistGradientBoostingRegressor else {"options": {"zipmap": False}})
    )
    answers = list(plain_run(data.SerializeToString(), {"X": rows}).values())[-1]
    truth = boosting.predict(rows) if kind is HistGradientBoostingRegressor else boosting.predict_proba(rows)
    wrong = ~np.isclose(answers, truth.reshape(answers.shape), rtol=1e-3, atol=1e-3)
    assert wrong.any(axis=1).sum() > 300
    with pytest.raises(UnsupportedModelError, match=r"already decided \(its feature 0\): skl2onnx loses the splits"):
        OnnxModel.from_bytes(data.SerializeToString())


def test_lost_splits_too_few_to_prove_are_remarked():
    codes = np.random.default_rng(0).integers(0, 6, 500)
    rows = np.c_[codes, codes % 2].astype(np.float32)
    boosting = HistGradientBoostingRegressor(max_iter=4, max_depth=1, categorical_features=[0]).fit(rows, codes % 3)
    model = OnnxModel.from_bytes(to_onnx(boosting, rows[:1]).SerializeToString())
    assert any("every test of a tree's feature 0 is `x <= 0`" in change for change in model.changes)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 6))])
def test_numbers_around_zero_are_not_taken_for_lost_splits(seed):
    generator = np.random.default_rng(seed)
    rows = np.c_[
        generator.choice([-1, 1], 600), generator.choice([-1, 0, 1], 600), generator.normal(size=(600, 2)).round(1)
    ].astype(np.float32)
    rows[generator.random(rows.shape) < 0.2] = np.nan
    target = np.nan_to_num(rows, nan=0.7) @ [4, 3, 2, 1] * np.nan_to_num(rows[:, 0], nan=5) + np.isnan(rows).sum(axis=1)
    for learner in (HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=2), RandomForestRegressor(5)):
        learner.fit(rows, target)
        model = OnnxModel.from_bytes(to_onnx(learner, rows[:1]).SerializeToString())
        whole = np.nan_to_num(rows, nan=1)
        scored = model.score(pd.DataFrame(whole, columns=NAMES), features=NAMES)
        np.testing.assert_allclose(scored["variable"], learner.predict(whole), rtol=1e-3, atol=1e-3)
