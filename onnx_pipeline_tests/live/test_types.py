"""Every type of column as a feature and as a key, and every type of prediction; plain queries and Python are the truth."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_pipeline.base.errors import KeyColumnError, NullFeatureError, PoolError, SignatureError
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.server import Server

Fresh = Callable[[str], str]
FLOAT, DOUBLE, STRING, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.STRING, TensorProto.BOOL


def echo(kinds: Sequence[int]) -> OnnxModel:
    """A model that answers each of its inputs f0, f1, ... as a0, a1, ..., each in its own dtype."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"f{index}"], [f"a{index}"]) for index, _ in enumerate(kinds)],
        "echo",
        [helper.make_tensor_value_info(f"f{index}", kind, [None, 1]) for index, kind in enumerate(kinds)],
        [helper.make_tensor_value_info(f"a{index}", kind, [None, 1]) for index, kind in enumerate(kinds)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel.from_bytes(model.SerializeToString())


WIDE_TEXT = ["", " ", "a ", "it's", "é€", "東京", "🙂", "x" * 40]
FEATURES: list[tuple[str, int, Sequence[Any]]] = [
    ("BIT", BOOL, [True, False]),
    ("BIT", FLOAT, [True, False]),
    ("TINYINT", TensorProto.UINT8, [0, 255]),
    ("TINYINT", TensorProto.INT8, [0, 127]),
    ("TINYINT", FLOAT, [0, 255]),
    ("SMALLINT", TensorProto.INT16, [-32768, 32767]),
    ("SMALLINT", TensorProto.UINT16, [0, 32767]),
    ("INT", TensorProto.INT32, [-(2**31), 2**31 - 1]),
    ("INT", TensorProto.INT64, [-(2**31), 2**31 - 1]),
    ("INT", TensorProto.UINT32, [0, 2**31 - 1]),
    ("INT", FLOAT, [-5, 16_777_216]),
    ("BIGINT", TensorProto.INT64, [-(2**63), 2**63 - 1]),
    ("BIGINT", TensorProto.INT32, [-5, 2**31 - 1]),
    ("BIGINT", TensorProto.UINT64, [0, 2**63 - 1]),
    ("BIGINT", DOUBLE, [-(2**53), 2**53]),
    ("REAL", FLOAT, ["0.1", "-1.5e-30", "3.4e38", None]),
    ("REAL", DOUBLE, ["0.5", None]),
    ("REAL", TensorProto.FLOAT16, ["0.5", "-65504"]),
    ("FLOAT", DOUBLE, ["0.1", "-1.7e308", "2.5e-308", None]),
    ("FLOAT", FLOAT, ["0.1", "1e-3", None]),
    ("DECIMAL(12, 3)", DOUBLE, ["123456789.125", "-0.001", None]),
    ("DECIMAL(38, 10)", DOUBLE, ["1234567890123456789.5", "-0.0000000001"]),
    ("NUMERIC(9, 2)", FLOAT, ["0.25", "-7.5", None]),
    ("DECIMAL(18, 0)", TensorProto.INT64, ["999999999999999999", "-1"]),
    ("MONEY", DOUBLE, ["12.3456", "-922337203685477.5", None]),
    ("SMALLMONEY", FLOAT, ["1.25", None]),
    ("NVARCHAR(40)", STRING, WIDE_TEXT),
    ("NVARCHAR(MAX)", STRING, [*WIDE_TEXT, "long é " * 3000]),
    ("NCHAR(5)", STRING, ["ab", "東京東京東"]),
    ("VARCHAR(40)", STRING, ["", "a ", "é", "it's", "plain"]),
    ("VARCHAR(MAX)", STRING, ["", "é", "long " * 3000]),
    ("CHAR(5)", STRING, ["ab", "abcde"]),
]
ROWS = 9
"""The values of a column are repeated to that many rows."""


def expected(server: Server, table: str, index: int, kind: int, values: Sequence[Any]) -> list[Any]:
    """What the model reads of a column, by a plain query for texts and by numpy for numbers."""
    if kind == STRING:
        return [row[0] for row in server.rows(f"SELECT CAST(f{index} AS NVARCHAR(MAX)) FROM {table} ORDER BY id")]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    parse = float if np.issubdtype(dtype, np.floating) else int
    cells = [None if value is None else dtype.type(parse(value)).item() for value in values]
    return [cells[row % len(cells)] for row in range(ROWS)]


def test_every_type_of_feature_reaches_the_model_and_its_answer_the_target_unchanged(
    server: Server, pool: MssqlPool, fresh: Fresh, score: Score
) -> None:
    table = fresh("typed")
    columns = ", ".join(f"f{index} {column} NULL" for index, (column, *_) in enumerate(FEATURES))
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, {columns})")
    marks = ", ".join(f"CAST(? AS {column})" for column, *_ in FEATURES)
    for row in range(ROWS):
        cells = [values[row % len(values)] for _, _, values in FEATURES]
        server.execute(f"INSERT INTO {table} VALUES ({row}, {marks})", cells)
    spec = ScoringSpec(
        name=table, onnx="m", source=table, key=["id"], target=f"{table}_scored", checks={"nan_predictions": "allow"}
    )
    # The second run meets the table that the first one made, and finds that its columns fit.
    for run in ("run-1", "run-2"):
        score(spec, echo([kind for _, kind, _ in FEATURES]), run_id=run)
    answers = ", ".join(f"a{index}" for index, _ in enumerate(FEATURES))
    rows = server.rows(f"SELECT {answers} FROM {spec.target_table} WHERE run_id = 'run-2' ORDER BY id")
    found = dict(enumerate(map(list, zip(*rows, strict=True))))
    for index, (column, kind, values) in enumerate(FEATURES):
        truth = expected(server, table, index, kind, values)
        assert found[index] == truth, f"{column} to {TensorProto.DataType.Name(kind)}"


@pytest.mark.parametrize("kind", [STRING, BOOL, TensorProto.INT64])
def test_a_null_without_a_form_in_the_model_is_refused_or_replaced(
    server: Server, pool: MssqlPool, fresh: Fresh, score: Score, kind: int
) -> None:
    column, value, substitute = {STRING: ("NVARCHAR(9)", "b", "none"), BOOL: ("BIT", True, False)}.get(
        kind, ("BIGINT", 7, -1)
    )
    table = fresh("nulls")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, f0 {column} NULL)")
    server.insert(table, ["id", "f0"], [(0, value)])
    server.execute(f"INSERT INTO {table} VALUES (1, NULL)")
    attributes: dict[str, Any] = {"name": table, "onnx": "m", "source": table, "key": ["id"], "target": f"{table}_s"}
    with pytest.raises(NullFeatureError, match=r"f0.*1"):
        score(ScoringSpec(**attributes), echo([kind]))
    score(ScoringSpec(**attributes, nulls={"f0": substitute}), echo([kind]))
    assert server.rows(f"SELECT a0 FROM {table}_s ORDER BY id") == [(value,), (substitute,)]


KEYS = {
    "TINYINT": ["0", "255"],
    "SMALLINT": ["-32768", "5"],
    "INT": ["-5", "7"],
    "BIGINT": [str(-(2**63)), str(2**63 - 1)],
    "DECIMAL(38, 0)": ["1" + "0" * 37, "-7"],
    "DECIMAL(12, 3)": ["1.001", "1.002"],
    "NVARCHAR(20)": ["a", "é€", "東京 🙂"],
    "VARCHAR(20)": ["a", "é"],
    "NVARCHAR(450)": ["k" * 450, "é"],
    "CHAR(6)": ["ab", "abcdef"],
    "NCHAR(6)": ["ab", "é"],
    "UNIQUEIDENTIFIER": ["0E984725-C51C-4BF4-9960-E1C80E27ABA0", "6F9619FF-8B86-D011-B42D-00C04FC964FF"],
    "DATE": ["0001-01-01", "2026-02-28", "9999-12-31"],
    "TIME(6)": ["00:00:00.000001", "23:59:59.999999"],
    "SMALLDATETIME": ["1950-01-01T00:01:00", "2026-06-15T12:30:00"],
    "DATETIME": ["1753-01-01T00:00:00", "2026-06-15T12:30:00.007", "9999-12-31T23:59:59.997"],
    "DATETIME2(0)": ["1900-01-01T00:00:00", "2026-06-15T12:30:01"],
    "DATETIME2(3)": ["1969-12-31T23:59:59.999", "2026-06-15T12:30:01.001"],
    "DATETIME2(6)": ["1700-01-01T00:00:00.000001", "2026-06-15T12:30:01.123456"],
    "DATETIMEOFFSET(0)": ["2026-06-15T12:30:01+02:00", "2026-06-15T12:30:01+05:45"],
    "DATETIMEOFFSET(6)": ["2026-06-15T12:30:01.123456-08:00", "1969-12-31T23:59:59.999999+00:00"],
    "BIT": ["1", "0"],
}
STORED = {
    "DECIMAL(38, 0)": "numeric", "DECIMAL(12, 3)": "numeric",
    "TINYINT": "smallint", "VARCHAR(20)": "nvarchar", "CHAR(6)": "nvarchar", "NCHAR(6)": "nvarchar",
    "SMALLDATETIME": "datetime2", "DATETIME": "datetime2",
}  # fmt: skip
SINGLE = ("UNIQUEIDENTIFIER", "NVARCHAR(20)", "DECIMAL(38, 0)", "DATETIMEOFFSET(0)", "DATETIME", "TIME(6)")


def make_keyed(server: Server, table: str, columns: Sequence[str], rows: int) -> list[str]:
    """A table with a key column of each type, whose values repeat at different distances, and a feature; the names."""
    names = [f"k{index}" for index, _ in enumerate(columns)]
    listed = ", ".join(f"{name} {column} NOT NULL" for name, column in zip(names, columns, strict=True))
    server.execute(f"CREATE TABLE {table} ({listed}, a REAL NOT NULL)")
    marks = ", ".join(f"CAST(? AS {column})" for column in columns)
    for row in range(rows):
        cells = [KEYS[column][row % len(KEYS[column])] for column in columns]
        server.execute(f"INSERT INTO {table} VALUES ({marks}, {row})", cells)
    return names


def assert_same_keys(server: Server, source: str, target: str, key: Sequence[str], rows: int) -> None:
    """Every row of the source has its prediction, under a key whose values are the same to Python."""
    names = ", ".join(key)
    asked = server.rows(f"SELECT a, {names} FROM {source} ORDER BY a")
    given = server.rows(f"SELECT score, {names} FROM {target} ORDER BY score")
    assert [row[0] for row in given] == [2.0 * row for row in range(rows)]
    for place, name in enumerate(key, start=1):
        assert [row[place] for row in given] == [row[place] for row in asked], name


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_a_key_of_every_type_stands_in_the_target_as_in_the_source(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score, mode: str
) -> None:
    """Six rows: of values that come in twos and threes, all together are different."""
    table = fresh("keyed")
    key = make_keyed(server, table, list(KEYS), 6)
    spec = ScoringSpec(name=table, onnx="m", source=table, key=key, target=f"{table}_scored", load_mode=mode)
    for run, weight in (("run-1", 1.0), ("run-2", 2.0)):
        loaded = score(spec, weighted_sum({"a": weight}), run_id=run)
        assert sum(piece.loaded.present for piece in loaded) == 6
    assert_same_keys(server, table, spec.target_table, key, 6)
    kinds = server.rows(
        "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = ?", [spec.target_table]
    )
    stored = {
        name: STORED.get(column, column.partition("(")[0].lower()) for name, column in zip(key, KEYS, strict=True)
    }
    assert {name: kind for name, kind in kinds if name in stored} == stored


@pytest.mark.parametrize("column", SINGLE)
def test_a_key_of_one_column_identifies_rows_alone(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score, column: str
) -> None:
    table, rows = fresh("keyed"), len(KEYS[column])
    key = make_keyed(server, table, [column], rows)
    spec = ScoringSpec(name=table, onnx="m", source=table, key=key, target=f"{table}_scored")
    score(spec, weighted_sum({"a": 2.0}))
    assert_same_keys(server, table, spec.target_table, key, rows)
    server.execute(f"INSERT INTO {table} SELECT TOP 1 * FROM {table}")
    with pytest.raises(KeyColumnError, match="occur more than once"):
        score(spec, weighted_sum({"a": 1.0}), run_id="twice")


def test_a_key_longer_than_its_column_loads_nothing(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("long")
    server.execute(f"CREATE TABLE {table} (k NVARCHAR(500) NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["k", "a"], [("x" * 451, 1.0), ("y", 2.0)])
    spec = ScoringSpec(name=table, onnx="m", source=table, key=["k"], target=f"{table}_scored")
    with pytest.raises(PoolError):
        score(spec, weighted_sum({"a": 1.0}))
    assert server.scalar(f"SELECT COUNT(*) FROM {table}_scored") == 0
    assert server.staging_tables() == []


def test_a_time_with_zone_that_is_null_in_many_rows_is_still_a_time(
    server: Server, pool: MssqlPool, fresh: Fresh
) -> None:
    """One driver tells such a column from text by its values."""
    import datetime

    import sqlalchemy as sa

    table = fresh("late")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, at DATETIMEOFFSET(0) NULL, b NVARCHAR(26) NULL)")
    digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
    server.execute(
        f"INSERT INTO {table} (id) SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d "
        f"FROM {digits} AS a(d), {digits} AS b(d), {digits} AS c(d), {digits} AS e(d)"
    )
    server.execute(f"UPDATE {table} SET at = '2026-06-15T12:30:01+02:00', b = 'text' WHERE id = 9000")
    columns = [sa.column(name) for name in ("id", "at", "b")]
    found = pool.fetch(sa.select(*columns).select_from(sa.table(table)).order_by(columns[0]))
    at = found["at"].to_pylist()
    assert at[9000] == datetime.datetime(2026, 6, 15, 10, 30, 1, tzinfo=datetime.timezone.utc)
    assert at.count(None) == 9999
    assert found["b"].to_pylist()[9000] == "text"


@pytest.mark.parametrize("column", ["XML", "VARBINARY(8)", "SQL_VARIANT"])
def test_a_type_without_a_form_disturbs_nobody_who_does_not_ask_for_it(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score, column: str
) -> None:
    table = fresh("odd")
    if not server.takes(f"CREATE TABLE {table} (id INT NOT NULL, odd {column} NULL, a REAL NOT NULL)"):
        pytest.skip(f"this server has no {column}")
    server.execute(f"INSERT INTO {table} (id, a) VALUES (1, 2)")
    spec = ScoringSpec(name=table, onnx="m", source=table, key=["id"], target=f"{table}_scored")
    score(spec, weighted_sum({"a": 1.0}))
    assert server.rows(f"SELECT score FROM {table}_scored") == [(2.0,)]
    if column == "VARBINARY(8)":
        asked = ScoringSpec(name=f"{table}_2", onnx="m", source=table, key=["odd"], target="t")
        with pytest.raises(SignatureError, match="odd"):
            score(asked, weighted_sum({"a": 1.0}))
