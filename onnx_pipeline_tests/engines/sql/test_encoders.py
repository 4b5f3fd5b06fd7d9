"""What turns categories into numbers, and numbers into others, does so as ONNX Runtime does."""

import duckdb
import numpy as np
import onnx
import pytest

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline_tests.engines.sql.graphs import graph
from onnx_pipeline_tests.engines.sql.oracle import check, check_inputs
from onnx_pipeline_tests.engines.sql.single import matrix, single

TEXTS = ["a", "A", "a ", "", " ", "ä", "it's", "日本", "x;--", "never"]
NUMBERS = [0, 1, -1, 2**24, 2**24 + 1, -(2**40), 2**53 + 1, 7]
FLOATS = [0.0, -0.0, 1.0, 0.1, 0.99, -0.99, -1.5, 2.0**24, 2.0**24 + 2, 1e10, 7.0, 7.99, np.nan]


def texts(columns=2):
    return np.array([TEXTS[place:] + TEXTS[:place] for place in range(columns)], object).T


def numbers(dtype, values, columns=2):
    return np.array([values[place:] + values[:place] for place in range(columns)], dtype).T


ROWS = {
    "s": texts(),
    "i": numbers(np.int64, NUMBERS),
    "f": numbers(np.float32, FLOATS),
    "d": numbers(np.float64, [*FLOATS, 2.0**53, 2.0**53 + 2]),
}


@pytest.mark.parametrize("kind", ["s", "i", "f", "d"])
def test_one_hot(kind):
    categories = (
        {"cats_strings": ["a", "ä", "a ", "", "it's"]} if kind == "s" else {"cats_int64s": [0, 1, -1, 7, 2**24]}
    )
    check(
        single("OneHotEncoder", {"x": matrix(kind, 2)}, {"y": matrix("f", 10)}, flattened=True, **categories),
        ROWS[kind],
    )


def test_a_category_that_is_given_twice():
    check(
        single(
            "OneHotEncoder", {"x": matrix("s", 1)}, {"y": matrix("f", 3)}, flattened=True, cats_strings=["a", "A", "a"]
        ),
        texts(1),
    )


@pytest.mark.parametrize("kind", ["s", "i", "f"])
def test_without_zeros_an_unknown_category_fails_as_it_does_in_onnx_runtime(kind):
    known = {"s": ["a", "A"], "i": [0, 1], "f": [0, 1]}[kind]
    categories = {"cats_strings" if kind == "s" else "cats_int64s": known}
    model = single(
        "OneHotEncoder", {"x": matrix(kind, 1)}, {"y": matrix("f", 2)}, flattened=True, zeros=0, **categories
    )
    data = np.array([[value] for value in known], ROWS[kind].dtype)
    check(model, data)
    unknown = np.vstack([data, np.array([["b"]], object) if kind == "s" else np.array([[5]], data.dtype)])
    with pytest.raises(duckdb.Error, match=r"(b|5(\.0)?) is no category of ai.onnx.ml.OneHotEncoder 'it'"):
        check(model, unknown)


KEYS = {"s": TEXTS[:4], "i": NUMBERS[:5], "f": [0.0, 0.1, 7.0, -1.5, np.nan]}
VALUES = {"s": ["one", "", "it's", "four ", "five"], "i": [5, -1, 0, 2**40, 9], "f": [0.5, -1.0, np.nan, 1e-9, 3.0]}
NAMES = {"s": "strings", "i": "int64s", "f": "floats"}


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("value", ["s", "i", "f"])
@pytest.mark.parametrize("key", ["s", "i", "f"])
def test_labels_of_every_kind(key, value, version):
    attributes = {f"keys_{NAMES[key]}": KEYS[key], f"values_{NAMES[value]}": VALUES[value][: len(KEYS[key])]}
    model = single("LabelEncoder", {"x": matrix(key, 2)}, {"y": matrix(value, 2)}, version=version, **attributes)
    check(model, ROWS[key])


@pytest.mark.parametrize("value", ["s", "i", "f"])
def test_a_default_of_its_own(value):
    default = {"s": {"default_string": "?"}, "i": {"default_int64": 77}, "f": {"default_float": 0.25}}[value]
    attributes = {"keys_strings": KEYS["s"], f"values_{NAMES[value]}": VALUES[value][:4], **default}
    check(single("LabelEncoder", {"x": matrix("s", 2)}, {"y": matrix(value, 2)}, **attributes), texts())


@pytest.mark.parametrize(("key", "value"), [("d", "d"), ("d", "s"), ("s", "d"), ("d", "i"), ("i", "i"), ("s", "f")])
def test_tables_given_as_tensors(key, value):
    keys, values = {**KEYS, "d": [0.0, 0.1, 2.0**53, np.nan]}, {**VALUES, "d": [0.1, 2.5, -1e300, np.nan]}
    size = 4

    def tensor(kind, held):
        dtype = {"d": np.float64, "i": np.int64, "f": np.float32, "s": object}[kind]
        return onnx.numpy_helper.from_array(np.array(held[:size], dtype))

    attributes = {"keys_tensor": tensor(key, keys[key]), "values_tensor": tensor(value, values[value])}
    attributes["default_tensor"] = tensor(value, values[value][1:2])
    model = single("LabelEncoder", {"x": matrix(key, 2)}, {"y": matrix(value, 2)}, version=4, **attributes)
    check(model, ROWS[key])


@pytest.mark.parametrize("version", [2, 4])
def test_of_a_key_that_is_given_twice_the_first_counts(version):
    model = single(
        "LabelEncoder", {"x": matrix("s", 1)}, {"y": matrix("i", 1)},
        version=version, keys_strings=["a", "A", "a"], values_int64s=[1, 2, 3],
    )  # fmt: skip
    check(model, texts(1))


@pytest.mark.parametrize(("key", "value"), [("s", "i"), ("i", "s")])
def test_the_first_version_of_the_label_encoder(key, value):
    model = single(
        "LabelEncoder", {"x": matrix(key, 1)}, {"y": matrix(value, 1)}, version=1, classes_strings=["a", "A", "a"]
    )
    check(model, texts(1) if key == "s" else np.array([[0], [1], [2], [3], [-1]]))


@pytest.mark.parametrize(("key", "value"), [("s", "i"), ("i", "s")])
def test_category_mapper(key, value):
    attributes = {"cats_strings": ["a", "A", "", "a"], "cats_int64s": [1, -1, 7, 7], "default_int64": 50}
    model = single("CategoryMapper", {"x": matrix(key, 2)}, {"y": matrix(value, 2)}, **attributes)
    check(model, ROWS[key])


def test_imputer_replaces_nan():
    data = np.array([[np.nan, 1.0], [0.0, np.nan], [np.nan, np.nan], [2.0, 3.0]], np.float32)
    for values in ([5.0, -1.0], [5.0], [np.nan, 2.0]):
        model = single(
            "Imputer", {"x": matrix("f", 2)}, {"y": matrix("f", 2)},
            imputed_value_floats=values, replaced_value_float=float("nan"),
        )  # fmt: skip
        check(model, data)


def test_imputer_replaces_a_value():
    data = np.array([[np.nan, 0.1], [0.1, -1.0], [0.0, 0.1]])
    model = single(
        "Imputer",
        {"x": matrix("f", 2)},
        {"y": matrix("f", 2)},
        imputed_value_floats=[5.0, 6.0],
        replaced_value_float=0.1,
    )
    check(model, data.astype(np.float32))
    whole = single(
        "Imputer", {"x": matrix("i", 2)}, {"y": matrix("i", 2)}, imputed_value_int64s=[5, 6], replaced_value_int64=-1
    )
    check(whole, np.array([[1, -1], [-1, 2], [-1, -1]]))


@pytest.mark.parametrize("attributes", [{}, {"threshold": 0.1}, {"threshold": -3.0}])
def test_binarizer(attributes):
    data = np.array([[0.1], [0.0], [-0.0], [1.0], [-3.0], [np.float32(0.1) + 1e-7]], np.float32)
    check(single("Binarizer", {"x": matrix("f", 1)}, {"y": matrix("f", 1)}, version=1, **attributes), data)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(norm):
    random = np.random.default_rng(5)
    edges = [
        [0, 0, 0],
        [0, -1, 0],
        [-1, -2, -3],
        [1e-30, 0, 0],
        [1e20, 1, 1],
        [np.nan, 1, 2],
        [1, 2, np.nan],
        [np.nan] * 3,
    ]
    data = np.vstack([random.normal(size=(200, 3)), edges]).astype(np.float32)
    check(single("Normalizer", {"x": matrix("f", 3)}, {"y": matrix("f", 3)}, version=1, norm=norm), data)
    whole = random.integers(-5, 5, size=(100, 3))
    check(single("Normalizer", {"x": matrix("i", 3)}, {"y": matrix("f", 3)}, version=1, norm=norm), whole)


@pytest.mark.parametrize("kind", ["f", "d", "i"])
def test_scaler(kind):
    random = np.random.default_rng(6)
    data = random.normal(size=(200, 3)).astype({"f": np.float32, "d": np.float64, "i": np.int64}[kind])
    data = data * (1000 if kind == "i" else 1)
    shapes = {"x": matrix(kind, 3)}, {"y": matrix("f", 3)}
    check(single("Scaler", *shapes, version=1, offset=[0.1, 0.2, 0.0], scale=[3.0, 1.0, -0.5]), data)
    check(single("Scaler", *shapes, version=1, offset=[0.1], scale=[3.0]), data)


@pytest.mark.parametrize("kind", ["f", "d", "i"])
def test_feature_vectorizer_cuts_and_fills(kind):
    model = single(
        "FeatureVectorizer", {"x": matrix(kind, 2), "n": matrix(kind, 1), "d": matrix(kind, 3)}, {"y": matrix("f", 6)},
        inputdimensions=[2, 2, 2], version=1,
    )  # fmt: skip
    data = np.array(
        [[1, 5, 0, 7, -1, 8], [2**24 + 1, 1, 2, 3, 4, 5]], {"f": np.float32, "d": np.float64, "i": np.int64}[kind]
    )
    check_inputs(model, {"x": data[:, :2], "n": data[:, 2:3], "d": data[:, 3:]})


def test_columns_are_extracted():
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    shapes = {"x": matrix("f", 4)}, {"y": matrix("f", 3)}
    check(single("ArrayFeatureExtractor", *shapes, version=1, constants={"i": [3, 0, 3]}), data)


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(NotCompilableError, match="column 9 of 4"):
        check(
            single(
                "ArrayFeatureExtractor", {"x": matrix("f", 4)}, {"y": matrix("f", 1)}, version=1, constants={"i": [9]}
            ),
            np.zeros((1, 4), np.float32),
        )


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [1, -1])
def test_lp_normalization(p, axis):
    data = np.vstack([np.random.default_rng(7).normal(size=(100, 3)), np.zeros((1, 3)), [[np.nan, 0, 1]]])
    check(graph(f"y = LpNormalization <p={p}, axis={axis}> (x)"), data.astype(np.float32))
