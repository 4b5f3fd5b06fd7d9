"""One column for one input: names that an exporter made, case, and what a suggestion may propose."""

import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.models import OnnxModel, OutputSignature, Signature, TensorSignature, bind

OUTPUT = (OutputSignature("y", "float", (None, 1)),)


def singles(*names):
    return Signature(tuple(TensorSignature(name, "float", (None, 1)) for name in names), OUTPUT)


MATRIX_AND_ONE = Signature((TensorSignature("x", "float", (None, 2)), TensorSignature("a", "float", (None, 1))), OUTPUT)


@pytest.fixture(scope="module")
def renamed():
    """A pipeline over columns that skl2onnx must rename, its frame, and scikit-learn's answers."""
    columns = ["a b", "a_b"]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32), columns=columns)
    pipeline = make_pipeline(make_column_transformer((StandardScaler(), columns)), LinearRegression())
    pipeline.fit(frame, frame.to_numpy() @ [1, 10])
    model = OnnxModel.from_bytes(to_onnx(pipeline, frame[:1]).SerializeToString())
    assert [tensor.name for tensor in model.signature.inputs] == ["a_b", "a_b1"]
    return model, frame, pipeline.predict(frame)


@pytest.mark.parametrize("features", [None, {"a_b1": "a_b"}, {"a_b1": "a b"}, {"a_b": "a b"}])
def test_inputs_that_skl2onnx_renamed_must_all_be_named(renamed, features):
    model, frame, _ = renamed
    with pytest.raises(
        SignatureError, match=r"may be any of the columns 'a b', 'a_b'.*\{a_b: <column>, a_b1: <column>\}"
    ):
        model.score(frame, features=features)


def test_named_they_give_scikit_learns_answers_and_one_column_twice_is_what_was_asked_for(renamed):
    model, frame, answers = renamed
    scored = model.score(frame, features={"a_b": "a b", "a_b1": "a_b"})
    np.testing.assert_allclose(scored["variable"], answers, rtol=1e-4, atol=1e-4)
    twice = model.score(frame, features={"a_b": "a_b", "a_b1": "a_b"})
    assert np.mean(~np.isclose(twice["variable"], answers, rtol=1e-4)) > 0.9  # why it has to be asked for


def test_a_suggestion_proposes_no_column_that_feeds_another_input():
    with pytest.raises(SignatureError, match=r"'stay1', which the source does not have\. It has stay, ward"):
        bind(singles("stay", "stay1"), None, available=["stay", "ward"])
    with pytest.raises(SignatureError, match=r"does not have; did you mean 'stays'\?"):
        bind(singles("stay", "stay1"), None, available=["stay", "stays"])


@pytest.mark.parametrize(
    ("signature", "features", "message"),
    [
        (singles("a", "b"), {"b": "a"}, r"feed a \(by its own name\) and b \(named in features\).*\{a: a, b: a\}"),
        (
            MATRIX_AND_ONE,
            ["a", "b"],
            r"feed x \(named in features\) and a \(by its own name\).*x: \[\.\.\., a, \.\.\.\], a: a",
        ),
    ],
)
def test_a_column_feeds_two_inputs_only_where_both_are_named(signature, features, message):
    with pytest.raises(SignatureError, match=message):
        bind(signature, features)


@pytest.mark.parametrize(
    ("signature", "features"),
    [
        (singles("a", "b"), {"a": "c", "b": "c"}),
        (MATRIX_AND_ONE, {"x": ["a", "b"], "a": "a"}),
        (Signature(MATRIX_AND_ONE.inputs[:1], OUTPUT), ["a", "a"]),
    ],
)
def test_named_for_each_place_it_may(signature, features):
    assert bind(signature, features).inputs


def test_a_model_that_calls_an_input_and_a_column_of_another_alike_means_one_column():
    bound = bind(MATRIX_AND_ONE, None, feature_names=["a", "b"])
    assert [place.columns for place in bound.inputs] == [("a", "b"), ("a",)]


def test_feature_names_that_hold_a_name_twice_are_refused():
    with pytest.raises(SignatureError, match="list the input's columns in features"):
        bind(Signature(MATRIX_AND_ONE.inputs[:1], OUTPUT), None, feature_names=["a", "a"])
    assert bind(Signature(MATRIX_AND_ONE.inputs[:1], OUTPUT), ["b", "c"], feature_names=["a", "a"]).columns.keys() == {
        "b",
        "c",
    }


def test_case_folds_only_where_one_column_answers_to_one_input():
    assert bind(singles("age"), None, available=["AGE"], fold_case=True).columns == {"AGE": "float"}
    assert bind(singles("X", "x"), None, available=["x", "X"], fold_case=True).columns == {"X": "float", "x": "float"}
    with pytest.raises(SignatureError, match=r"column 'X' would feed X .* and x .*features: \{X: X, x: X\}"):
        bind(singles("X", "x"), None, available=["X"], fold_case=True)
    with pytest.raises(SignatureError, match=r"'age', which may be 'AGE' or 'Age': they differ by case alone"):
        bind(singles("age"), None, available=["AGE", "Age"], fold_case=True)
    with pytest.raises(SignatureError, match="'age', which the source does not have; did you mean 'AGE'"):
        bind(singles("age"), None, available=["AGE"])


def test_a_column_that_the_source_has_twice_is_refused():
    with pytest.raises(SignatureError, match="'a', which the source has more than once"):
        bind(singles("a"), None, available=["a", "a"])
