"""NULLs and trees, against scikit-learn."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import ModelProto, TensorProto
from onnx.helper import make_node
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.base.errors import NullFeatureError
from onnx_pipeline.models import OnnxModel

NAMES = list("abcd")
FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def holed(rows):
    """The rows, with a tenth of columns a to c missing; column d is whole."""
    values = rows.copy()
    values[:, :3][np.random.default_rng(0).random((len(rows), 3)) < 0.1] = np.nan
    return values


@pytest.fixture(scope="module")
def answers(rows):
    return rows @ [4, 3, 2, 1] + np.abs(rows[:, 3])


def export(estimator, rows):
    return OnnxModel.from_bytes(to_onnx(estimator, rows[:1]).SerializeToString())


def frame_of(values):
    return pd.DataFrame(values, columns=NAMES)


def test_a_tree_without_tracking_refuses_nulls_and_explains(holed, answers):
    tree = DecisionTreeRegressor(max_depth=8, random_state=0).fit(holed, answers)
    model = export(tree, holed)
    with pytest.raises(
        NullFeatureError, match=r"without missing-value tracking: a \(\d+ NULL or NaN\), b .*nulls: \{a: nan"
    ):
        model.score(frame_of(holed), features=NAMES)


def test_accepting_nan_gives_the_answers_that_silently_differ_from_scikit_learn(holed, answers):
    tree = DecisionTreeRegressor(max_depth=8, random_state=0).fit(holed, answers)
    scored = export(tree, holed).score(frame_of(holed), features=NAMES, nulls=dict.fromkeys("abc", "nan"))
    differ = np.mean(~np.isclose(scored["variable"], tree.predict(holed), rtol=1e-4))
    assert 0.02 < differ < 0.5  # this is why it is an error by default


def test_a_stand_in_gives_scikit_learns_answers_for_it(holed, answers):
    forest = RandomForestRegressor(5, max_depth=6, random_state=0).fit(np.nan_to_num(holed), answers)
    scored = export(forest, holed).score(frame_of(holed), features=NAMES, nulls=dict.fromkeys("abc", 0))
    np.testing.assert_allclose(scored["variable"], forest.predict(np.nan_to_num(holed)), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # skl2onnx hands numpy integers to protobuf
def test_a_tree_that_tracks_missing_values_scores_nulls_as_scikit_learn(holed, answers):
    boosting = HistGradientBoostingRegressor(max_iter=20).fit(holed, answers)
    model = export(boosting, holed)
    assert model.unsafe_nulls == frozenset()
    scored = model.score(frame_of(holed), features=NAMES)
    np.testing.assert_allclose(scored["variable"], boosting.predict(holed), rtol=1e-4, atol=1e-4)


def test_an_imputer_before_the_tree_makes_nulls_safe(holed, answers):
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), DecisionTreeRegressor(max_depth=6)).fit(holed, answers)
    model = export(pipeline, holed)
    assert model.unsafe_nulls == frozenset()
    scored = model.score(frame_of(holed), features=NAMES)
    np.testing.assert_allclose(scored["variable"], pipeline.predict(holed), rtol=1e-4, atol=1e-4)


def test_a_column_that_no_node_tests_may_be_null(rows):
    tree = DecisionTreeRegressor(max_depth=4).fit(rows * [1, 0, 1, 1], rows[:, 0] + rows[:, 2])
    model = export(tree, rows)
    assert ("X", 1) not in model.unsafe_nulls
    table = pa.table({name: rows[:, index] for index, name in enumerate(NAMES)}).set_column(
        1, "b", pa.nulls(len(rows), pa.float32())
    )
    scored = model.score(table, features=NAMES)
    np.testing.assert_allclose(scored["variable"], tree.predict(rows * [1, 0, 1, 1]), rtol=1e-5)


def test_columns_are_traced_through_scaling_and_concatenation(rows):
    tree = DecisionTreeRegressor(max_depth=1).fit(rows, rows[:, 2] > 0)
    pipeline = make_pipeline(StandardScaler(), tree).fit(rows, (rows[:, 2] > 0).astype(float))
    types = [(name, FloatTensorType([None, 1])) for name in NAMES]
    model = OnnxModel.from_bytes(to_onnx(pipeline, initial_types=types).SerializeToString())
    assert model.unsafe_nulls == {("c", 0)}


def test_a_linear_model_answers_null_with_nan(holed, rows):
    linear = LinearRegression().fit(rows, rows @ [1, 2, 3, 4])
    scored = export(linear, rows).score(frame_of(holed), features=NAMES)
    missing = np.isnan(holed).any(axis=1)
    np.testing.assert_array_equal(np.isnan(scored["variable"]), missing)
    np.testing.assert_allclose(scored["variable"][~missing], linear.predict(holed[~missing]), rtol=1e-4, atol=1e-4)


def stump(source="x", *, feature=1, tracks=None):
    """A tree of one test: column `feature` of `source` at most 0 gives 1, else 2."""
    return make_node(
        "TreeEnsembleRegressor",
        [source],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[feature, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
        **({} if tracks is None else {"nodes_missing_value_tracks_true": tracks}),
    )


def unsafe_columns(make_model, nodes, weights=None, *, width=3):
    data = make_model(nodes, [("x", FLOAT, ["N", width])], [("y", FLOAT, ["N", 1])], weights)
    return {index for _, index in OnnxModel.from_bytes(data).unsafe_nulls}


def test_leaves_test_nothing_and_tracking_at_a_node_makes_the_tree_safe(make_model):
    assert unsafe_columns(make_model, [stump()]) == {1}
    assert unsafe_columns(make_model, [stump(tracks=[0, 0, 0])]) == {1}
    assert unsafe_columns(make_model, [stump(tracks=[1, 0, 0])]) == set()


@pytest.mark.parametrize(
    ("nodes", "weights", "unsafe"),
    [
        ([make_node("Neg", ["x"], ["h"])], {}, {1}),
        ([make_node("Mul", ["x", "w"], ["h"])], {"w": np.float32([1, 2, 3])}, {1}),
        ([make_node("Gather", ["x", "w"], ["h"], axis=1)], {"w": np.int64([0, 2])}, {2}),
        ([make_node("Concat", ["x", "x"], ["h"], axis=-1)], {}, {1}),
        ([make_node("MatMul", ["x", "w"], ["h"])], {"w": np.eye(3, dtype=np.float32)}, {0, 1, 2}),
        ([make_node("CumSum", ["x", "w"], ["h"])], {"w": np.int64([1])}, {0, 1, 2}),
        (
            [make_node("IsNaN", ["x"], ["gone"]), make_node("Where", ["gone", "w", "x"], ["h"])],
            {"w": np.float32([0])},
            set(),
        ),
        (
            [
                make_node(
                    "Imputer",
                    ["x"],
                    ["h"],
                    domain="ai.onnx.ml",
                    imputed_value_floats=[0.0],
                    replaced_value_float=math.nan,
                )
            ],
            {},
            set(),
        ),
        (
            [
                make_node(
                    "Imputer",
                    ["x"],
                    ["h"],
                    domain="ai.onnx.ml",
                    imputed_value_floats=[0.0],
                    replaced_value_float=-1.0,
                )
            ],
            {},
            {1},
        ),
        ([make_node("Normalizer", ["x"], ["h"], domain="ai.onnx.ml", norm="L2")], {}, {0, 1, 2}),
    ],
    ids=lambda value: "-".join(getattr(node, "op_type", "") for node in value) if isinstance(value, list) else "",
)
def test_nan_is_followed_through_operators_and_an_unknown_one_passes_every_column(make_model, nodes, weights, unsafe):
    assert unsafe_columns(make_model, [*nodes, stump("h")], weights) == unsafe


def test_a_tree_on_an_input_of_dynamic_width_is_unsafe_in_every_column_it_is_bound_to(make_model):
    data = make_model([stump()], [("x", FLOAT, ["N", None])], [("y", FLOAT, ["N", 1])])
    model = OnnxModel.from_bytes(data)
    table = pa.table({"a": [1.0, 2.0], "b": [1.0, None]})
    with pytest.raises(NullFeatureError, match=r"tracking: b \(1 NULL or NaN\)"):
        model.score(table, features=["a", "b"])


def test_a_tree_ensemble_of_the_newest_form_is_seen_too(make_model):
    from onnx import numpy_helper

    node = make_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        tree_roots=[0],
        nodes_featureids=[2],
        nodes_falseleafs=[1],
        nodes_falsenodeids=[1],
        nodes_trueleafs=[1],
        nodes_truenodeids=[0],
        leaf_targetids=[0, 0],
    )
    from onnx.helper import make_attribute

    for name, values in (
        ("nodes_splits", np.float32([0])),
        ("nodes_modes", np.uint8([0])),
        ("leaf_weights", np.float32([1, 2])),
    ):
        node.attribute.append(make_attribute(name, numpy_helper.from_array(values)))
    data = make_model([node], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 1])], ml=5)
    assert ModelProto.FromString(data).opset_import[1].version == 5
    model = OnnxModel.from_bytes(data)
    assert model.unsafe_nulls == {("x", 2)}
    table = pa.table({"a": [0.0, 0.0], "b": [None, 0.0], "c": [-1.0, 1.0]})
    assert model.score(table, features=["a", "b", "c"])["y"].to_pylist() == [1, 2]


def test_null_counts_of_a_whole_slice_are_checked_by_source_column(rows):
    tree = DecisionTreeRegressor(max_depth=6).fit(rows, rows @ [1, 1, 1, 1])
    model = export(tree, rows)
    binding = model.bind(NAMES)
    model.check_nulls(binding, {"a": 0})
    model.check_nulls(binding, {"a": 7}, {"a": "nan"})
    with pytest.raises(NullFeatureError, match=r"a \(7 NULL or NaN\)"):
        model.check_nulls(binding, {"a": 7})


def test_the_scorer_itself_lets_no_null_into_an_untracked_tree(rows):
    tree = DecisionTreeRegressor(max_depth=6).fit(rows, rows @ [1, 1, 1, 1])
    model = export(tree, rows)
    score = model.scorer(model.bind(["a", "a", "a", "a"]))
    with pytest.raises(NullFeatureError, match="missing-value tracking"):
        score(pa.RecordBatch.from_pydict({"a": pa.array([1.0, None], pa.float32())}))


@pytest.fixture(scope="module")
def labelling():
    """Estimators whose labels are made of numbers that NaN would pass through, and some that handle it."""
    rows = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64)
    made = {}
    for name, estimator in {
        "linear": LogisticRegression(), "neighbours": KNeighborsClassifier(), "one class": OneClassSVM(),
        "imputed": make_pipeline(SimpleImputer(), LogisticRegression()),
    }.items():  # fmt: skip
        estimator.fit(rows, labels)
        options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
        exported = to_onnx(estimator, rows[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
        made[name] = estimator, OnnxModel.from_bytes(exported.SerializeToString())
    return made


@pytest.mark.parametrize("name", ["linear", "neighbours", "one class"])
def test_a_label_is_not_made_of_nan_where_scikit_learn_raises(labelling, name):
    estimator, model = labelling[name]
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict([[np.nan, 1.0]])
    frame = pa.table({"a": pa.array([0.5, np.nan], pa.float32()), "b": pa.array([1.0, 1.0], pa.float32())})
    label = {"label": "label"}
    for nulls in (None, {"a": "nan"}):
        with pytest.raises(NullFeatureError, match="'a' has 1 NULL or NaN, .* its output 'label'"):
            model.score(frame, features=["a", "b"], outputs=label, nulls=nulls)
    with pytest.raises(NullFeatureError, match=r"or accept labels .* nulls: \{a: nan\}"):
        model.score(frame, features=["a", "b"])
    filled = model.score(frame, features=["a", "b"], outputs=label, nulls={"a": 0.25})
    assert filled["label"].to_pylist() == estimator.predict(np.float32([[0.5, 1], [0.25, 1]])).tolist()
    accepted = model.score(frame, features=["a", "b"], nulls={"a": "nan"})
    assert accepted.num_rows == 2


def test_a_label_of_a_model_that_handles_nan_is_scikit_learns(labelling):
    estimator, model = labelling["imputed"]
    rows = np.float32([[np.nan, 1.0], [0.5, np.nan], [-1, 2]])
    scored = model.score(pa.table({"a": rows[:, 0], "b": rows[:, 1]}), features=["a", "b"], outputs={"y": "label"})
    assert scored["y"].to_pylist() == estimator.predict(rows).tolist()


def test_nan_as_a_value_is_null_to_a_tree_without_tracking(rows):
    """Arrow keeps NaN and NULL apart; what the tree would do with either is the same."""
    tree = DecisionTreeRegressor(max_depth=4).fit(np.where(rows > 1.2, np.nan, rows), rows.sum(axis=1))
    model = OnnxModel.from_bytes(to_onnx(tree, rows[:1], target_opset=17).SerializeToString())
    frame = pa.table({name: pa.array(rows[:20, place].astype(np.float32)) for place, name in enumerate(NAMES)})
    holed = frame.set_column(0, "a", pa.array([np.nan, *[0.5] * 19], pa.float32()))
    with pytest.raises(NullFeatureError, match=r"a \(1 NULL or NaN\)"):
        model.score(holed, features=NAMES)
    score = model.scorer(model.bind(NAMES))
    with pytest.raises(NullFeatureError, match=r"a \(1 NULL or NaN\)"):
        score(holed.to_batches()[0])
    encoded = frame.set_column(0, "a", holed["a"].dictionary_encode())
    with pytest.raises(NullFeatureError, match=r"a \(1 NULL or NaN\)"):
        model.score(encoded, features=NAMES)
    filled = frame.set_column(0, "a", pa.array([7.0, *[0.5] * 19], pa.float32()))
    assert model.score(encoded, features=NAMES, nulls={"a": 7}).equals(
        model.score(filled, features=NAMES, nulls={"a": 7})
    )
    assert model.score(holed, features=NAMES, nulls={"a": 7}).equals(model.score(filled, features=NAMES))
