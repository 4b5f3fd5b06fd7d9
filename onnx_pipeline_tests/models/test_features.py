from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, SignatureError
from onnx_pipeline.models import Signature, TensorSignature, bind, pack


def binding(columns, *, dtype="float", shape=None):
    shape = (None, len(columns)) if shape is None else shape
    single = shape[1:] in {(), (1,)}
    return bind(Signature((TensorSignature("x", dtype, shape),), ()), {"x": columns[0] if single else columns})


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def test_a_matrix_holds_the_columns_in_order_also_beyond_one_block():
    columns = {f"c{index}": np.random.default_rng(index).random(70_001, np.float32) for index in range(9)}
    packed = pack(batch(**columns), binding(list(columns)), {})["x"]
    assert packed.flags.c_contiguous
    np.testing.assert_array_equal(packed, np.column_stack(list(columns.values())))


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 70_001), slice(999, 69_000)])
@pytest.mark.parametrize("first", ["float32", "int16"])
@pytest.mark.parametrize("dtype", ["float", "double", "int64"])
def test_a_matrix_is_the_same_whether_its_columns_need_a_cast_or_not(dtype, first, rows):
    wanted = np.dtype({"float": "f4", "double": "f8", "int64": "i8"}[dtype])
    rng = np.random.default_rng(0)
    numbers = [rng.integers(-99, 99, 70_001).astype(wanted) for _ in range(5)]
    missing = [rng.random(70_001) < (0.1 if dtype != "int64" and index % 2 else 0) for index in range(5)]
    arrays = [pa.array(values, mask=mask) for values, mask in zip(numbers, missing, strict=True)]
    expected = np.column_stack([np.where(mask, np.nan, values) for values, mask in zip(numbers, missing, strict=True)])
    arrays[0] = arrays[0].cast(first)
    names = [f"c{index}" for index in range(5)]
    whole = pa.RecordBatch.from_arrays(arrays, names=names)
    packed = pack(whole.slice(rows.start, rows.stop - rows.start), binding(names, dtype=dtype), {})["x"]
    assert packed.dtype == wanted
    assert packed.flags.c_contiguous
    np.testing.assert_array_equal(packed, expected[rows])


@pytest.mark.parametrize("shape", [(None,), (None, 1)])
def test_a_column_that_has_the_tensors_dtype_is_not_copied(shape):
    values = pa.array(np.arange(5, dtype=np.float32))
    packed = pack(batch(a=values), binding(["a"], shape=shape), {})["x"]
    assert packed.shape == (5, *shape[1:])
    assert packed.__array_interface__["data"][0] == values.buffers()[1].address


def test_a_slice_of_a_batch_packs_its_own_rows():
    whole = batch(a=pa.array([1.0, None, 3.0, 4.0], pa.float32()), b=pa.array(["u", "v", "w", "v"]))
    part = whole.slice(1, 2)
    np.testing.assert_array_equal(pack(part, binding(["a"]), {})["x"], np.float32([[np.nan], [3]]))
    assert pack(part, binding(["b"], dtype="string"), {})["x"].tolist() == [["v"], ["w"]]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pa.array([1, 2**40], pa.int64()), "float", np.float32([1, 2**40])),
        (pa.array([0.1, np.inf], pa.float64()), "float", np.float32([0.1, np.inf])),
        (pa.array([True, False]), "float", np.float32([1, 0])),
        (pa.array([True, False]), "int64", np.int64([1, 0])),
        (pa.array([True, False]), "bool", np.array([True, False])),
        (pa.array([3, 250], pa.int64()), "uint8", np.uint8([3, 250])),
        (pa.array([Decimal("1.25"), None], pa.decimal128(9, 2)), "double", np.array([1.25, np.nan])),
        (pa.array([7, None], pa.int64()), "double", np.array([7, np.nan])),
        (pa.array([0.5, None], pa.float64()), "float16", np.float16([0.5, np.nan])),
        (pa.array([2, 1], pa.int32()), "float16", np.float16([2, 1])),
        (pa.array([1.5, 2.5, 1.5]).dictionary_encode(), "float", np.float32([1.5, 2.5, 1.5])),
        (pa.nulls(2), "float", np.float32([np.nan, np.nan])),
        (pa.array([], pa.int64()), "float", np.float32([])),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
@pytest.mark.filterwarnings("error")
def test_values_are_cast_to_the_tensors_dtype(values, dtype, expected):
    packed = pack(batch(a=values, b=values), binding(["a", "b"], dtype=dtype), {})["x"]
    assert packed.dtype == expected.dtype
    np.testing.assert_array_equal(packed, np.column_stack([expected, expected]))
    single = pack(batch(a=values), binding(["a"], dtype=dtype, shape=(None,)), {})["x"]
    np.testing.assert_array_equal(single, expected)


WORDS = ["b", "a", None, "b"]
MANY = [f"w{index}" for index in range(3000)]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(WORDS),
        pa.array(WORDS, pa.large_string()),
        pa.array(WORDS).dictionary_encode(),
        pa.array(WORDS).dictionary_encode(null_encoding="encode"),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1], pa.int8()), ["a", "b"]),
    ],
    ids=lambda array: str(array.type),
)
def test_strings_become_python_strings_and_null_what_nulls_says(array):
    packed = pack(batch(a=array), binding(["a"], dtype="string"), {"a": "?"})["x"]
    assert packed.dtype == object
    assert packed.tolist() == [["b"], ["a"], ["?"], ["b"]]


def test_strings_that_do_not_repeat_pack_as_those_that_do():
    packed = pack(batch(a=[*MANY, None]), binding(["a"], dtype="string", shape=(None,)), {"a": "none"})["x"]
    assert packed.tolist() == [*MANY, "none"]


@pytest.mark.parametrize(
    ("values", "dtype", "stand_in", "expected"),
    [
        (pa.array([1.0, None]), "float", 40, [1.0, 40.0]),
        (pa.array([1, None]), "float", 0.5, [1.0, 0.5]),
        (pa.array([1, None]), "int64", 7, [1, 7]),
        (pa.array([1, None]), "int64", 7.0, [1, 7]),
        (pa.array([True, None]), "bool", True, [True, True]),
        (pa.array([True, None]), "int32", 5, [1, 5]),
        (pa.array([1.0, None]), "float", "nan", [1.0, np.nan]),
        (pa.array([1.0, None]), "float", float("nan"), [1.0, np.nan]),
        (pa.nulls(2), "int64", 3, [3, 3]),
    ],
    ids=str,
)
def test_nulls_says_what_stands_in(values, dtype, stand_in, expected):
    packed = pack(batch(a=values), binding(["a"], dtype=dtype, shape=(None,)), {"a": stand_in})["x"]
    np.testing.assert_array_equal(packed, expected)


@pytest.mark.parametrize("dtype", ["int64", "bool", "string"])
def test_null_without_a_form_is_an_error_that_names_column_and_count(dtype):
    values = {"int64": [1, None, None], "bool": [True, None, None], "string": ["a", None, None]}[dtype]
    with pytest.raises(NullFeatureError, match=rf"'a' has 2 NULL or NaN, .* tensor of {dtype}; .*nulls: \{{a: "):
        pack(batch(a=values), binding(["a"], dtype=dtype), {})


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int64", "nan"),
        ("int64", 1.5),
        ("uint8", 300),
        ("bool", 1),
        ("string", 3),
        ("float", "x"),
        ("float", True),
    ],
)
def test_a_stand_in_that_the_dtype_cannot_hold_is_an_error(dtype, value):
    with pytest.raises(SignatureError, match=rf"nulls puts .* column 'a', which the model reads as {dtype}"):
        pack(batch(a=[1]), binding(["a"], dtype=dtype), {"a": value})


def test_nulls_for_a_column_that_the_model_does_not_read_is_an_error():
    with pytest.raises(SignatureError, match="'ages', which the model does not read; did you mean 'age'"):
        pack(batch(age=[1.0]), binding(["age"]), {"ages": 1})


def test_an_integer_that_the_tensor_cannot_hold_is_an_error_and_never_wraps():
    with pytest.raises(FeatureValueError, match="'a' is 300, and uint8 holds 0 to 255; filter or clip"):
        pack(batch(a=[300]), binding(["a"], dtype="uint8"), {})


@pytest.mark.parametrize("wide", [False, True])
def test_a_double_beyond_the_tensors_range_is_an_error_that_names_the_value(wide):
    values = pa.array([None, 1e39], pa.float64()) if wide else pa.array([0.5, 1e39])
    with pytest.raises(FeatureValueError, match=r"'b' is 1e\+39, out of the range of float32, which ends at 3.402823"):
        pack(batch(a=[1.0, 2.0], b=values), binding(["a", "b"]), {})


def test_what_lies_under_a_null_is_no_value():
    hidden = pa.Array.from_buffers(pa.float64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1.0, 1e300]))])
    np.testing.assert_array_equal(pack(batch(a=hidden), binding(["a"]), {})["x"], np.float32([[1], [np.nan]]))


def test_nan_is_null_where_something_stands_in():
    values = pa.array([1.0, np.nan, None], pa.float32())
    np.testing.assert_array_equal(pack(batch(a=values), binding(["a"]), {"a": 7})["x"], np.float32([[1], [7], [7]]))


@pytest.mark.parametrize(
    "values", [pa.array([3.0, np.nan, None]), pa.array([Decimal(3), None, None], pa.decimal128(9, 2))]
)
def test_whole_numbers_of_any_type_fill_integers_and_nan_is_null(values):
    packed = pack(batch(a=values), binding(["a"], dtype="int64"), {"a": -1})["x"]
    assert packed.dtype == np.int64
    assert packed.ravel().tolist() == [3, -1, -1]
    with pytest.raises(NullFeatureError, match=r"nulls: \{a: 0\}"):
        pack(batch(a=values), binding(["a"], dtype="int64"), {})


@pytest.mark.parametrize("value", [1.5, np.inf, 2.0**63, Decimal("1.50"), Decimal(2**64)])
def test_a_number_that_is_no_int64_is_an_error_that_names_it(value):
    with pytest.raises(FeatureValueError, match="'a' is "):
        pack(batch(a=[value]), binding(["a"], dtype="int64"), {})


@pytest.mark.parametrize(("values", "dtype"), [([1.5], "bool"), (["1"], "float"), ([1], "string"), ([1], "bool")])
def test_a_cast_that_changes_the_meaning_is_an_error(values, dtype):
    with pytest.raises(SignatureError, match=f"column 'a' has the type .* takes {dtype}"):
        pack(batch(a=values), binding(["a"], dtype=dtype), {})


def test_an_absent_column_is_an_error_that_shows_the_close_one():
    with pytest.raises(SignatureError, match="'age', which the data does not have; did you mean 'Age'"):
        pack(batch(Age=[1.0]), binding(["age"]), {})


def test_one_column_feeds_two_inputs_of_different_dtypes():
    two = Signature((TensorSignature("i", "int64", (None, 1)), TensorSignature("f", "float", (None,))), ())
    packed = pack(batch(a=[1, 2]), bind(two, {"i": "a", "f": "a"}), {})
    assert packed["i"].dtype == np.int64
    assert packed["f"].dtype == np.float32
    assert packed["i"].tolist() == [[1], [2]]
    assert packed["f"].tolist() == [1, 2]
