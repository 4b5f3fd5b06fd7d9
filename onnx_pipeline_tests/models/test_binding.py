import pytest

from onnx_pipeline.base.errors import SignatureError
from onnx_pipeline.models import OutputSignature, Signature, TensorSignature, bind

OUTPUT = (OutputSignature("y", "float", (None, 1)),)


def signature(**inputs):
    tensors = (TensorSignature(name, dtype, shape) for name, (dtype, shape) in inputs.items())
    return Signature(tuple(tensors), OUTPUT)


COLUMNS = signature(age=("float", (None, 1)), stays=("int64", (None,)))
MATRIX = signature(x=("float", (None, 3)))
MIXED = signature(x=("float", (None, 2)), ward=("string", (None, 1)))


def test_an_input_takes_the_column_of_its_name():
    assert bind(COLUMNS, None).columns == {"age": "float", "stays": "int64"}


def test_features_rename_only_what_differs():
    assert bind(COLUMNS, {"age": "admission_age"}).columns == {"admission_age": "float", "stays": "int64"}


@pytest.mark.parametrize("features", [["a", "b", "c"], {"x": ["a", "b", "c"]}])
def test_a_list_orders_the_columns_of_a_matrix(features):
    assert bind(MATRIX, features).inputs[0].columns == ("a", "b", "c")


def test_a_list_goes_to_the_only_matrix_beside_single_columns():
    bound = bind(MIXED, ["a", "b"])
    assert [place.columns for place in bound.inputs] == [("a", "b"), ("ward",)]


def test_a_matrix_takes_the_names_that_the_model_brings_and_features_rename_them():
    bound = bind(MATRIX, {"b": "other"}, feature_names=["a", "b", "c"])
    assert bound.inputs[0].columns == ("a", "other", "c")


def test_a_matrix_of_dynamic_width_takes_a_list_of_any_length():
    assert bind(signature(x=("float", (None, None))), list("abcde")).inputs[0].columns == tuple("abcde")


@pytest.mark.parametrize(
    ("dtypes", "common"),
    [
        (("float", "double"), "double"),
        (("int64", "float"), "int64"),
        (("int32", "int64"), "int64"),
        (("uint8", "int32"), "int64"),
        (("bool", "float"), "bool"),
    ],
)
def test_a_column_that_feeds_two_dtypes_is_cast_to_one_from_which_both_can_be_made(dtypes, common):
    two = signature(first=(dtypes[0], (None, 1)), second=(dtypes[1], (None, 1)))
    assert bind(two, {"first": "a", "second": "a"}).columns == {"a": common}


@pytest.mark.parametrize(
    ("model", "features", "options", "message"),
    [
        (MATRIX, None, {}, r"3 columns, and the model does not name them; write features: \{x: \["),
        (MATRIX, ["a", "b"], {}, r"takes 3 columns, but features lists 2 \(a, b\)"),
        (MATRIX, None, {"feature_names": ["a"]}, r"takes 3 columns, but the model's feature_names hold 1"),
        (MATRIX, {"x": "a"}, {}, r"names the single column 'a' for it; write features: \{x: \[a, \.\.\.\]\}"),
        (MATRIX, [], {}, "features lists 0"),
        (MATRIX, "a", {}, "features is the text 'a'"),
        (COLUMNS, {"agee": "a"}, {}, "'agee', which is no input of the model; did you mean 'age'"),
        (COLUMNS, ["a", "b"], {}, r"write features: \{age: \.\.\., stays: \.\.\.\}"),
        (COLUMNS, {"age": ["a", "b"]}, {}, "takes 1 column, but features lists 2"),
        (
            COLUMNS,
            None,
            {"available": ["Age", "stays"]},
            "'age', which the source does not have; did you mean 'Age'",
        ),
        (
            signature(a=("string", (None, 1)), b=("float", (None, 1))),
            {"a": "c", "b": "c"},
            {},
            "text is no number",
        ),
    ],
)
def test_what_cannot_be_bound_is_an_error_that_says_what_to_write(model, features, options, message):
    with pytest.raises(SignatureError, match=message):
        bind(model, features, **options)


def test_a_signature_survives_json():
    labelled = Signature(MIXED.inputs, (OutputSignature("p", "float", (None, 2), ("no", "yes")), *OUTPUT))
    assert Signature.from_json(labelled.to_json()) == labelled


def test_a_signature_is_a_markdown_table_with_one_line_per_tensor():
    labelled = Signature(MATRIX.inputs, (OutputSignature("p|q", "float", (None, 2), ("no", "yes")),))
    table = labelled.markdown().splitlines()
    assert table[2] == "| input | x | float | [N, 3] |  |"
    assert table[3] == "| output | p\\|q | float | [N, 2] | no, yes |"
