"""Real data sets, from a table to a table, against scikit-learn's own predictions of every row."""

import numpy as np
import pyarrow as pa
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.spec.scoring import ScoringSpec


@pytest.fixture
def fill(pool):
    """`fill(table, columns)` writes columns into the pool, rows shuffled, with an `id` that counts them."""

    def write(table, columns):
        rows = len(next(iter(columns.values())))
        order = np.random.default_rng(0).permutation(rows)
        data = pa.table({"id": order, **{name: np.asarray(values)[order] for name, values in columns.items()}})
        with pool.connect(f"writing {table}") as connection:
            connection.register("data", data)
            connection.execute(f"CREATE TABLE {table} AS FROM data").fetchall()

    return write


def test_breast_cancer_in_hash_buckets(fill, score, sql):
    data = load_breast_cancer()
    rows = data.data.astype(np.float32)
    names = [name.replace(" ", "_") for name in data.feature_names]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(rows, data.target)
    # With ZipMap, as scikit-learn models are exported by default.
    model = OnnxModel.from_bytes(to_onnx(classifier, rows[:1]).SerializeToString())
    fill("tumours", dict(zip(names, rows.T, strict=True)))
    spec = ScoringSpec(
        name="malignancy", onnx="m", source="tumours", key=["id"], target="diagnoses", features=names,
        partitions={"buckets": 5}, outputs={"benign": "output_label", "probability": "output_probability"},
    )  # fmt: skip
    loaded = score(spec, model)
    assert sum(piece.loaded.inserted for piece in loaded) == len(rows) == 569
    found = sql("SELECT id, benign, probability_0, probability_1 FROM diagnoses ORDER BY id")
    ids, labels, *probabilities = map(np.array, zip(*found, strict=True))
    np.testing.assert_array_equal(ids, np.arange(569))
    np.testing.assert_array_equal(labels, classifier.predict(rows))
    np.testing.assert_allclose(np.column_stack(probabilities), classifier.predict_proba(rows), atol=1e-5)


def test_diabetes_as_one_slice_and_again_after_rows_left(fill, score, sql):
    data = load_diabetes()
    rows = data.data.astype(np.float32)
    regressor = GradientBoostingRegressor(random_state=0).fit(rows, data.target)
    model = OnnxModel.from_bytes(to_onnx(regressor, rows[:1]).SerializeToString())
    fill("patients", dict(zip(data.feature_names, rows.T, strict=True)))
    spec = ScoringSpec(
        name="progression", onnx="m", source="patients", key=["id"], target="progressions", features=data.feature_names,
        outputs={"in_a_year": "variable"},
    )  # fmt: skip
    for run, kept in (("run-1", np.arange(442)), ("run-2", np.arange(0, 442, 2))):
        sql(f"DELETE FROM patients WHERE id NOT IN ({', '.join(map(str, kept))})")
        score(spec, model, run_id=run)
        ids, answers, runs = map(
            np.array, zip(*sql("SELECT id, in_a_year, run_id FROM progressions ORDER BY id"), strict=True)
        )
        np.testing.assert_array_equal(ids, kept)
        np.testing.assert_allclose(answers, regressor.predict(rows)[kept], rtol=1e-5)
        assert set(runs) == {run}


@pytest.fixture(scope="module")
def health():
    """The RAND health insurance experiment: 20,190 person-years; `mdvis` counts visits to a doctor."""
    from statsmodels.datasets import randhie

    return randhie.load_pandas().data


def test_the_rand_experiment_by_listed_values_with_one_input_per_column(fill, score, sql, health):
    features = [name for name in health.columns if name != "mdvis"]
    rows = health[features].to_numpy(np.float32)
    regressor = DecisionTreeRegressor(max_depth=8, random_state=0).fit(rows, health["mdvis"])
    model = OnnxModel.from_bytes(to_onnx(regressor, rows[:1]).SerializeToString())
    sites = np.array(["hmo", "free", "cost sharing"])[np.arange(len(rows)) % 3]
    fill("person_years", {**{name: health[name].to_numpy() for name in features}, "plan": sites})
    spec = ScoringSpec(
        name="visits", onnx="m", source="person_years", key=["id"], target="expected_visits", features=features,
        partitions={"column": "plan", "values": ["free", "hmo", "cost sharing"]},
    )  # fmt: skip
    score(spec, model)
    found = sql("SELECT id, variable, partition_key FROM expected_visits ORDER BY id")
    ids, answers, plans = map(np.array, zip(*found, strict=True))
    np.testing.assert_array_equal(ids, np.arange(20_190))
    np.testing.assert_array_equal(plans, sites)
    np.testing.assert_allclose(answers, regressor.predict(rows), rtol=1e-5)


def test_a_forest_on_the_rand_experiment_over_days(fill, score, sql, health):
    features = ["lncoins", "idp", "lpi", "fmde", "physlm", "disea"]
    rows = health[features].to_numpy(np.float32)
    often = (health["mdvis"] > 4).to_numpy()
    forest = RandomForestClassifier(n_estimators=10, max_depth=6, random_state=0).fit(rows, often)
    options = {id(forest): {"zipmap": False}}
    model = OnnxModel.from_bytes(to_onnx(forest, rows[:1], options=options).SerializeToString())
    days = np.datetime64("2026-01-01") + np.arange(len(rows)) % 80
    fill("person_years", {**{name: health[name].to_numpy() for name in features}, "day": days})
    spec = ScoringSpec(
        name="often", onnx="m", source="person_years", key=["id"], target="often", features=features,
        partitions={"column": "day", "every": "day", "start": "2026-01-01"}, outputs={"p": "probabilities"},
    )  # fmt: skip
    keys = [str(day) for day in np.unique(days)]
    assert [piece.log.partition_key for piece in score(spec, model, keys)] == keys
    counted = dict(sql("SELECT partition_key, count(*) FROM often GROUP BY ALL"))
    assert counted == {key: int((days.astype(str) == key).sum()) for key in keys}
    names = [row[0] for row in sql("DESCRIBE often")]
    probabilities = np.array(sql(f'SELECT "{names[1]}", "{names[2]}" FROM often ORDER BY id'))
    np.testing.assert_allclose(probabilities, forest.predict_proba(rows), atol=1e-5)
