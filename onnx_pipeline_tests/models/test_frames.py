import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from onnx_pipeline.base.errors import NullFeatureError, SignatureError
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
