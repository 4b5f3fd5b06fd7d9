from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import FeatureValueError, NullFeatureError, SignatureError
from onnx_pipeline.models import OnnxModel

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture(scope="module")
def doubling(make_model, tmp_path_factory):
    """y = 2 · age, through a file, as a notebook loads it."""
    path = tmp_path_factory.mktemp("models") / "doubling.onnx"
    path.write_bytes(
        make_model([make_node("Add", ["age", "age"], ["y"])], [("age", FLOAT, ["N", 1])], [("y", FLOAT, ["N", 1])])
    )
    return OnnxModel.load(path)


def test_a_dataframe_gives_a_dataframe_with_its_index_and_key(doubling):
    frame = pd.DataFrame({"id": ["p", "q"], "age": [1.0, 2.0], "junk": [object(), object()]}, index=[7, 3])
    scored = doubling.score(frame, key=["id"])
    pd.testing.assert_frame_equal(scored, pd.DataFrame({"id": ["p", "q"], "y": np.float32([2, 4])}, index=[7, 3]))


@pytest.mark.parametrize("ages", [[], [1.0, None, 3.0]])
def test_a_table_gives_a_table_and_a_batch_a_batch(doubling, ages):
    table = pa.table({"id": pa.array(range(len(ages)), pa.int32()), "age": pa.array(ages, pa.float64())})
    scored = doubling.score(table, key=["id"])
    assert scored.schema == pa.schema({"id": pa.int32(), "y": pa.float32()})
    np.testing.assert_array_equal(scored["y"], np.float32([np.nan if age is None else 2 * age for age in ages]))
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)
    scored_batch = doubling.score(batch, key=["id"])
    assert isinstance(scored_batch, pa.RecordBatch)
    np.testing.assert_array_equal(scored_batch["y"], scored["y"].combine_chunks())


def test_a_table_in_many_chunks_keeps_its_row_order(doubling):
    chunks = [
        pa.table({"age": [1.0, 2.0]}),
        pa.table({"age": pa.array([], pa.float64())}),
        pa.table({"age": [3.0]}),
    ]
    assert doubling.score(pa.concat_tables(chunks))["y"].to_pylist() == [2, 4, 6]


def test_a_missing_integer_in_a_dataframe_follows_the_null_policy(make_model):
    data = make_model([make_node("Identity", ["stays"], ["y"])], [("stays", INT64, ["N"])], [("y", INT64, ["N"])])
    model = OnnxModel.from_bytes(data)
    frame = pd.DataFrame({"stays": pd.array([1, None], dtype="Int64")})
    with pytest.raises(NullFeatureError, match="'stays' has 1 NULL"):
        model.score(frame)
    assert model.score(frame, nulls={"stays": 0})["y"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (pd.DataFrame({"Age": [1.0]}), {}, "'age', which the source does not have; did you mean 'Age'"),
        (pd.DataFrame({"age": [1.0]}), {"key": ["idd"]}, "key names the column 'idd'"),
        (pd.DataFrame({"age": [1.0]}), {"key": "age"}, "key is the text 'age'"),
        (pd.DataFrame({"age": [1.0], "y": [1]}), {"key": ["y"]}, "two columns named 'y'"),
        (pa.table({"age": [1.0], "y": [1]}), {"key": ["y"]}, "two columns named 'y'"),
        (pd.DataFrame({"age": ["old"]}), {}, "'age' has the type .*string.* takes float"),
        (np.zeros((2, 1)), {}, "not a numpy.ndarray"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_it(doubling, frame, options, message):
    with pytest.raises(SignatureError, match=message):
        doubling.score(frame, **options)


@pytest.fixture(scope="module")
def summing(make_model):
    """`[N, 2]` → a + 2·b."""
    weights = {"w": np.float32([[1], [2]])}
    data = make_model(
        [make_node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 1])], weights
    )
    return OnnxModel.from_bytes(data)


@pytest.fixture(scope="module")
def echo(make_model):
    def make(dtype, name="age"):
        return OnnxModel.from_bytes(
            make_model([make_node("Identity", [name], ["y"])], [(name, dtype, ["N", 1])], [("y", dtype, ["N", 1])])
        )

    return make


@pytest.mark.parametrize("features", [["0", "1"], [0, 1], {"x": [0, 1]}, np.array([0, 1]).tolist()])
def test_whole_numbers_as_labels_are_names(summing, features):
    frame = pd.DataFrame(np.float32([[1, 10, 7], [2, 20, 8]]))
    scored = summing.score(frame, features=features, key=[2])
    assert scored.columns.tolist() == [2, "y"]
    np.testing.assert_array_equal(scored.to_numpy(), [[7, 21], [8, 42]])


def test_whole_numbers_as_labels_are_names_in_nulls_too_whose_values_stay(echo):
    frame = pd.DataFrame({0: [1.0, None]})
    assert echo(FLOAT, "0").score(frame, nulls={0: 7})["y"].tolist() == [1, 7]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (pd.arrays.SparseArray([0.0, 1.5, 0.0]), FLOAT, [0, 1.5, 0]),
        (pd.arrays.SparseArray([np.nan, 1.5]), FLOAT, [np.nan, 1.5]),
        (pd.arrays.SparseArray([0, 3]), INT64, [0, 3]),
        (pd.Categorical([1.5, None, 2.5]), FLOAT, [1.5, np.nan, 2.5]),
        (pd.Categorical([3, 1]), INT64, [3, 1]),
        (pd.Categorical(["b", "a"]), TensorProto.STRING, ["b", "a"]),
        (pd.array([1, None], "Int64"), FLOAT, [1, np.nan]),
        (pd.array([True, None], "boolean"), FLOAT, [1, np.nan]),
        (pd.array([1.5, None], "Float32"), FLOAT, [1.5, np.nan]),
        (pd.array([1.5, None], pd.ArrowDtype(pa.float64())), FLOAT, [1.5, np.nan]),
        (pd.array(["b", "a"], pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))), TensorProto.STRING, ["b", "a"]),
        (np.array([1, 2.5, None], object), FLOAT, [1, 2.5, np.nan]),
        (np.array([Decimal("1.5"), None], object), FLOAT, [1.5, np.nan]),
        (np.array([None, None], object), FLOAT, [np.nan, np.nan]),
        (np.longdouble([1.5, np.nan]), FLOAT, [1.5, np.nan]),
        (np.uint64([2**63]), FLOAT, [2.0**63]),
        (np.array([], object), FLOAT, []),
        (np.array([], object), TensorProto.STRING, []),
        (pd.Categorical([]), FLOAT, []),
        (pd.Categorical([]), TensorProto.STRING, []),
        (pd.Categorical([None, None]), FLOAT, [np.nan, np.nan]),
        (np.array([1.5, -2], ">f4"), FLOAT, [1.5, -2]),
        (np.array([3, -1], ">i8"), INT64, [3, -1]),
    ],
    ids=lambda value: getattr(getattr(value, "dtype", None), "name", None),
)
def test_columns_of_every_pandas_type_give_their_values(echo, values, dtype, expected):
    scored = echo(dtype).score(pd.DataFrame({"age": values}))["y"].to_numpy()
    np.testing.assert_array_equal(scored, np.array(expected, scored.dtype))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1 + 2j]), "'age' has the dtype complex128, which no model reads"),
        (np.array([1, "a"], object), "'age' holds values of the type int and str in a column of dtype object"),
        (np.array([object()], object), "'age' holds values of the type object"),
        (np.array([2**70], object), "'age' holds integers beyond 64 bits, such as 1180591620717411303424"),
        (np.array([[1], [2, 3]], object), r"'age' has the type list<"),
        (np.array([b"a"], object), "'age' has the type binary"),
        (pd.Series(["a\ud800"], dtype=object), "'age' holds text that is no Unicode"),
        (pd.Categorical(["a"]), "'age' has the type dictionary<values=.*string"),
        (pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Berlin"), r"'age' has the type timestamp\[.*Berlin"),
        (pd.to_timedelta(["1D"]), "'age' has the type duration"),
        (pd.period_range("2020", periods=1, freq="Y"), "'age' has the type extension<pandas.period"),
        (pd.cut([1, 2], 1), "'age' has the type dictionary<values=extension<pandas.interval"),
    ],
)
def test_values_that_are_no_feature_are_refused_by_column(doubling, values, message):
    with pytest.raises(SignatureError, match=f"column {message}"):
        doubling.score(pd.DataFrame({"age": values}))


def test_a_number_beyond_the_doubles_is_refused_as_one_beyond_a_float_is(doubling):
    values = np.array([1, np.longdouble("1e400")], np.longdouble)
    if values.dtype == np.float64:
        pytest.skip("a long double is a double here")
    with pytest.raises(FeatureValueError, match=r"column 'age' is 1e\+400, out of the range of float64"):
        doubling.score(pd.DataFrame({"age": values}))


@pytest.mark.parametrize("junk", [None, pd.Timestamp("2026-01-01"), 1.5, ("a", 1)])
def test_other_columns_may_have_any_label_and_any_values(doubling, junk):
    frame = pd.DataFrame({"age": [1.0]})
    frame[junk] = [1j]
    assert doubling.score(frame)["y"].tolist() == [2]


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.Table])
def test_a_label_that_is_there_twice_may_not_be_read(doubling, kind):
    rows, names = [[1.0, 2.0, 3.0]], ["age", "b", "b"]
    if kind is pa.Table:
        frame = pa.Table.from_arrays([pa.array([value]) for value in rows[0]], names)
        twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], ["age", "age"])
    else:
        frame, twice = pd.DataFrame(rows, columns=names), pd.DataFrame([[1.0, 2.0]], columns=["age", "age"])
    np.testing.assert_array_equal(doubling.score(frame)["y"], [2])
    with pytest.raises(SignatureError, match="key names the column 'b', which the data has more than once"):
        doubling.score(frame, key=["b"])
    with pytest.raises(SignatureError, match="'age', which the source has more than once"):
        doubling.score(twice)


def test_labels_of_several_levels_are_refused_with_how_to_join_them(summing):
    frame = pd.DataFrame([[1.0, 10.0]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    with pytest.raises(SignatureError, match=r"labels of 2 levels, such as \('a', 'x'\).*frame.columns = \['_'\.join"):
        summing.score(frame, features=["a_x", "a_y"])
    frame.columns = ["_".join(map(str, label)) for label in frame.columns]
    assert summing.score(frame, features=["a_x", "a_y"])["y"].tolist() == [21]


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        (pa.chunked_array([pa.array(words, pa.string()).dictionary_encode() for words in (["a", "b"], [], ["c", "a"])]),
         TensorProto.STRING, ["a", "b", "c", "a"]),
        (pa.array([1.0, 2.0, 1.0]).dictionary_encode(), FLOAT, [1, 2, 1]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array([1.0, None])), FLOAT, [1, np.nan, np.nan]),
        (pa.array(["a"], pa.large_string()), TensorProto.STRING, ["a"]),
        (pa.array(["a"], pa.string_view()), TensorProto.STRING, ["a"]),
        (pa.nulls(2), FLOAT, [np.nan, np.nan]),
        (pa.nulls(0), TensorProto.STRING, []),
        (pa.nulls(2, pa.dictionary(pa.int8(), pa.null())), FLOAT, [np.nan, np.nan]),
        (pa.array([1.0, 2.0, 3.0], pa.float16())[1:], FLOAT, [2, 3]),
        (pa.array([None, Decimal("1.15"), Decimal("-12300.00")], pa.decimal128(9, 2))[1:], TensorProto.DOUBLE,
         [1.15, -12300]),
        (pa.array([Decimal(12300)], pa.decimal128(3, -2)), FLOAT, [12300]),
        (pa.array([Decimal("1." + "1" * 37)], pa.decimal256(76, 38)), TensorProto.DOUBLE, [1.1111111111111112]),
        (pa.array([True, False, True])[1:], TensorProto.BOOL, [False, True]),
    ],
)  # fmt: skip
def test_arrow_columns_of_every_layout_give_their_values(echo, column, dtype, expected):
    scored = echo(dtype).score(pa.table({"age": column}))["y"].to_pylist()
    np.testing.assert_array_equal(scored, expected)
