"""A trained model becomes ONNX that answers as it does, or nothing is stored."""

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from onnx_pipeline.base.errors import InvalidModelError, ModelNotFoundError, SignatureError, UnsupportedModelError
from onnx_pipeline.notebook import publish
from onnx_pipeline_tests import needs

random = np.random.default_rng(11)
FRAME = pd.DataFrame(random.normal(size=(300, 3)).astype(np.float32), columns=["age", "stay", "rate"])
TARGET = (FRAME["age"] + 2 * FRAME["stay"] > 0).astype(int)
WARDS = FRAME.assign(ward=random.choice(["north", "south"], 300))


def mixed():
    columns = ColumnTransformer([("ward", OneHotEncoder(), ["ward"]), ("numbers", StandardScaler(), ["age", "stay"])])
    return make_pipeline(columns, LogisticRegression()).fit(WARDS, TARGET)


def lightgbm():
    return needs.package("lightgbm", "libgomp1")


def xgboost():
    return needs.package("xgboost", "libgomp1")


def booster(library):
    if library == "lightgbm":
        return lightgbm().train({"objective": "binary", "verbose": -1}, lightgbm().Dataset(FRAME, TARGET), 5)
    # The converter knows the columns of XGBoost as f0, f1, ... alone.
    rows = xgboost().DMatrix(FRAME.to_numpy(), TARGET)
    return xgboost().train({"objective": "binary:logistic"}, rows, 5)


def in_pipeline():
    return make_pipeline(StandardScaler(), lightgbm().LGBMClassifier(n_estimators=5, verbose=-1)).fit(FRAME, TARGET)


@pytest.mark.parametrize(
    ("train", "frame"),
    [
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET), FRAME),
        (lambda: GradientBoostingRegressor(n_estimators=5).fit(FRAME, FRAME["rate"] * 3), FRAME),
        (mixed, WARDS),
        (lambda: lightgbm().LGBMClassifier(n_estimators=5, verbose=-1).fit(FRAME, TARGET), FRAME),
        (lambda: lightgbm().LGBMRegressor(n_estimators=5, verbose=-1).fit(FRAME, FRAME["rate"]), FRAME),
        (lambda: xgboost().XGBClassifier(n_estimators=5).fit(FRAME.to_numpy(), TARGET), FRAME),
        (lambda: xgboost().XGBRegressor(n_estimators=5).fit(FRAME.to_numpy(), FRAME["rate"]), FRAME),
        (in_pipeline, FRAME),
        (lambda: IsolationForest(n_estimators=5, random_state=0).fit(FRAME), FRAME),
    ],
    ids=[
        "LogisticRegression", "GradientBoostingRegressor", "mixed", "LGBMClassifier", "LGBMRegressor", "XGBClassifier",
        "XGBRegressor", "LGBMClassifier in a pipeline", "IsolationForest",
    ],
)  # fmt: skip
def test_what_scikit_learn_lightgbm_and_xgboost_trained(train, frame, tmp_path):
    model = train()
    stored = publish(model, str(tmp_path / "deep" / "model.onnx"), features=frame)
    session = ort.InferenceSession((tmp_path / "deep" / "model.onnx").read_bytes())
    names = [each.name for each in session.get_inputs()]
    if len(names) == 1:
        assert stored.feature_names == tuple(frame.columns)
        feeds = {names[0]: frame.to_numpy()}
    else:
        assert names == list(frame.columns)
        feeds = {name: frame[[name]].to_numpy(object if name == "ward" else np.float32) for name in names}
    (first, *_) = session.run(None, feeds)
    expected = model.predict(frame if hasattr(model, "feature_names_in_") else frame.to_numpy())
    np.testing.assert_allclose(np.ravel(first), expected, rtol=1e-4, atol=1e-4)
    # As it is read again, by the names that the pool has.
    np.testing.assert_allclose(stored.score(frame).iloc[:, 0].to_numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters(library, tmp_path):
    model = booster(library)
    stored = publish(model, str(tmp_path / "model.onnx"), features=FRAME)
    given = FRAME if library == "lightgbm" else xgboost().DMatrix(FRAME.to_numpy())
    np.testing.assert_allclose(stored.score(FRAME).iloc[:, -1], model.predict(given), rtol=1e-4, atol=1e-5)


def test_onnx_is_stored_as_it_is(weighted_sum, tmp_path):
    data = weighted_sum({"a": 2.0}).normalised
    file = tmp_path / "given.onnx"
    file.write_bytes(data)
    for number, model in enumerate((data, file, str(file), onnx.load(file))):
        publish(model, (tmp_path / f"{number}.onnx").as_uri())
        assert (tmp_path / f"{number}.onnx").read_bytes() == data


class Shifted:
    """Answers otherwise than its ONNX."""

    def __init__(self, data):
        self.SerializeToString = lambda: data

    def get_params(self, deep=True):
        return {}

    def predict(self, rows):
        answers = 2 * rows["age"].to_numpy()
        answers[7] += 0.5
        return answers


def test_a_model_that_onnx_would_answer_otherwise_than(weighted_sum, tmp_path):
    model = Shifted(weighted_sum({"age": 2.0}).normalised)
    says = r"otherwise than the model in 1 of 300 rows: in row 7 the model gives .* in score. Nothing was stored"
    with pytest.raises(InvalidModelError, match=says):
        publish(model, str(tmp_path / "model.onnx"), features=FRAME)
    assert not (tmp_path / "model.onnx").exists()
    publish(model, str(tmp_path / "model.onnx"), features=FRAME, tolerance=1.0)
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("model", "how", "error", "says"),
    [
        (LogisticRegression().fit(FRAME, TARGET), {}, SignatureError, "publish needs features= to make ONNX of a sklearn.LogisticRegression"),
        (LogisticRegression().fit(FRAME.to_numpy(), TARGET), {"features": pd.DataFrame(FRAME.to_numpy())}, SignatureError, "a column named 0, which is no text"),
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(FRAME.abs(), TARGET), {"features": FRAME}, UnsupportedModelError, "cannot be made ONNX"),
        (object(), {"features": FRAME}, UnsupportedModelError, "builtins.object is none; convert it by its own exporter"),
        (b"no model", {}, InvalidModelError, "the model for"),
        ("nowhere.onnx", {}, ModelNotFoundError, "no model can be read at nowhere.onnx"),
    ],
)  # fmt: skip
def test_nothing_is_stored_of(model, how, error, says, tmp_path):
    with pytest.raises(error, match=says):
        publish(model, str(tmp_path / "model.onnx"), **how)
    assert not (tmp_path / "model.onnx").exists()


def test_a_place_that_takes_no_model(weighted_sum, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelNotFoundError, match="cannot be stored at"):
        publish(weighted_sum({"a": 2.0}).normalised, str(tmp_path / "file" / "model.onnx"))
    with pytest.raises(ModelNotFoundError, match="nothing is published at azureml://"):
        publish(weighted_sum({"a": 2.0}).normalised, "azureml://models/x/versions/1")
