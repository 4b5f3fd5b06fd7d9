"""Arrow to numpy and back without pandas, against pyarrow's own conversions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onnx_pipeline.base.arrow import from_numpy, mask, null_of, scalar, to_numpy

NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
dtypes = st.sampled_from([np.dtype(name) for name in [*NUMBERS, "bool"]])


@given(values=dtypes.flatmap(lambda dtype: npst.arrays(dtype, st.integers(0, 70))))
def test_numbers_and_booleans_come_back_as_they_went(values):
    array = from_numpy(values)
    assert array.null_count == 0
    assert array.to_pylist() == pa.array(values).to_pylist() or np.isnan(values.astype(np.float64)).any()
    back = to_numpy(array)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


@given(
    values=st.lists(st.one_of(st.none(), st.booleans()), max_size=40),
    start=st.integers(0, 20),
    length=st.integers(0, 20),
)
def test_slices_of_booleans_start_at_any_bit(values, start, length):
    array = pa.array(values, pa.bool_()).slice(min(start, len(values)), length)
    np.testing.assert_array_equal(mask(array), [value is None for value in array.to_pylist()])
    present = ~mask(array)
    expected = np.array([bool(value) for value in array.to_pylist()], dtype=bool)
    np.testing.assert_array_equal(to_numpy(array)[present], expected[present])


@pytest.mark.parametrize("name", NUMBERS)
def test_slices_of_numbers_and_nulls(name):
    dtype = np.dtype(name)
    whole = pa.array([1, None, 3, None, 5], pa.from_numpy_dtype(dtype))
    part = whole.slice(1, 3)
    np.testing.assert_array_equal(mask(part), [True, False, True])
    assert to_numpy(part)[1] == 3
    assert to_numpy(part).dtype == dtype


def test_a_number_column_is_seen_and_not_copied():
    values = np.arange(5, dtype=np.float32)
    assert np.shares_memory(to_numpy(from_numpy(values)), values)


def test_a_strided_view_is_made_contiguous():
    values = np.arange(10, dtype=np.int64)[::3]
    assert from_numpy(values).to_pylist() == [0, 3, 6, 9]


@pytest.mark.parametrize("arrow", [pa.bool_(), pa.int32(), pa.float64()])
def test_nothing_at_all(arrow):
    empty = pa.array([], arrow)
    assert to_numpy(empty).shape == (0,)
    assert mask(empty).shape == (0,)


@pytest.mark.parametrize(
    "arrow", [pa.float32(), pa.int8(), pa.string(), pa.bool_(), pa.decimal128(9, 2), pa.timestamp("us")]
)
def test_null_is_that_of_pyarrow(arrow):
    assert null_of(arrow).equals(pa.scalar(None, arrow))


def pyarrows(value, arrow):
    try:
        return pa.scalar(value, arrow)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        return type(error)


@pytest.mark.parametrize(
    "arrow", [*(pa.from_numpy_dtype(np.dtype(name)) for name in NUMBERS), pa.bool_(), pa.string()], ids=str
)
@given(
    value=st.one_of(
        st.integers(), st.integers(-300, 300), st.floats(), st.floats(-1e5, 1e5), st.booleans(), st.text(max_size=3)
    )
)
def test_a_scalar_is_that_of_pyarrow_or_refused_by_the_same_error(value, arrow):
    expected = pyarrows(value, arrow)
    if isinstance(expected, type):
        with pytest.raises(expected):
            scalar(value, arrow)
        return
    made = scalar(value, arrow)
    assert made.type == arrow
    np.testing.assert_equal(made.as_py(), expected.as_py())
