import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from onnx_pipeline.base.errors import SignatureError, UnsupportedModelError
from onnx_pipeline.base.types import (
    COLUMN_TYPES,
    can_feed,
    column_type_of_arrow,
    column_type_of_onnx,
    sqlalchemy_type,
)


@pytest.mark.parametrize("kind", COLUMN_TYPES, ids=lambda kind: kind.name)
def test_every_kind_is_found_again_from_both_sides(kind):
    assert column_type_of_arrow(kind.arrow, column="a") == kind
    if kind.onnx is not None:
        assert column_type_of_onnx(kind.onnx, tensor="x") == kind
        assert column_type_of_onnx(f"tensor({kind.onnx})", tensor="x") == kind


@pytest.mark.parametrize(
    ("arrow", "name"),
    [
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.large_string(), "string"),
        (pa.decimal128(18, 4), "float64"),
        (pa.timestamp("ns"), "timestamp"),
        (pa.timestamp("s", "Europe/Paris"), "timestamp_utc"),
        (pa.date64(), "date"),
        (pa.uuid(), "uuid"),
    ],
    ids=str,
)
def test_relatives_of_a_kind_count_as_the_kind(arrow, name):
    assert column_type_of_arrow(arrow, column="a").name == name


def test_an_unknown_arrow_type_is_an_error_that_names_column_and_type():
    with pytest.raises(SignatureError, match=r"'visits' has the type list<.*cast it in the source query"):
        column_type_of_arrow(pa.list_(pa.int64()), column="visits")


def test_an_unknown_dtype_is_an_error_that_names_tensor_and_dtype():
    with pytest.raises(UnsupportedModelError, match="'spectrum' has the dtype complex64"):
        column_type_of_onnx("tensor(complex64)", tensor="spectrum")


@pytest.mark.parametrize(
    ("arrow", "ddl"),
    [
        (pa.bool_(), "BIT"),
        (pa.int8(), "SMALLINT"),
        (pa.uint16(), "INTEGER"),
        (pa.uint32(), "BIGINT"),
        (pa.uint64(), "NUMERIC(20, 0)"),
        (pa.float16(), "REAL"),
        (pa.float32(), "REAL"),
        (pa.float64(), "DOUBLE PRECISION"),
        (pa.decimal128(12, 3), "NUMERIC(12, 3)"),
        (pa.string(), "NVARCHAR(max)"),
        (pa.timestamp("us", "UTC"), "DATETIMEOFFSET"),
        (pa.uuid(), "UNIQUEIDENTIFIER"),
    ],
    ids=str,
)
def test_target_tables_store_every_value_of_the_arrow_type(arrow, ddl):
    made = sqlalchemy_type(arrow, column="a")
    assert isinstance(made, sa.types.TypeEngine)
    assert made.compile(dialect=mssql.dialect()) == ddl


@pytest.mark.parametrize(
    ("source", "onnx", "may"),
    [
        (pa.int64(), "float", True),
        (pa.int64(), "int32", True),
        (pa.float64(), "float", True),
        (pa.float32(), "double", True),
        (pa.float32(), "int64", True),
        (pa.bool_(), "int64", True),
        (pa.bool_(), "float16", True),
        (pa.bool_(), "bool", True),
        (pa.int64(), "bool", False),
        (pa.decimal128(9, 2), "double", True),
        (pa.decimal128(9, 2), "int64", True),
        (pa.decimal128(9, 0), "int64", True),
        (pa.string(), "string", True),
        (pa.dictionary(pa.int32(), pa.string()), "string", True),
        (pa.string(), "float", False),
        (pa.int64(), "string", False),
        (pa.date32(), "int64", False),
        (pa.timestamp("us"), "float", False),
        (pa.uuid(), "string", False),
    ],
    ids=str,
)
def test_a_cast_is_allowed_where_it_keeps_the_meaning(source, onnx, may):
    assert can_feed(source, onnx) is may
