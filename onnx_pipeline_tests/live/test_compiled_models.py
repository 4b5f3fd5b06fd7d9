"""Compiled models on a live server give the answers of ONNX Runtime, in its types and whatever its collations hold."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.engines.sql.dialects import dialect_of
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline_tests.engines.sql.oracle import assert_same, by_runtime, compiled, read
from onnx_pipeline_tests.engines.sql.single import matrix, single
from onnx_pipeline_tests.engines.sql.sweep.cases import exported, tried_on
from onnx_pipeline_tests.engines.sql.sweep.estimators import CASES
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.server import Server

KINDS = {"f": "REAL", "i": "BIGINT", "O": "NVARCHAR(20)"}
ESTIMATORS = [
    "LogisticRegression, labels of text", "SVC, two classes", "Normalizer, l2",
    "OneHotEncoder, texts", "OrdinalEncoder, texts", "SimpleImputer", "Pipeline: columns, LogisticRegression",
]  # fmt: skip


def answers(
    server: Server, pool: MssqlPool, table: str, data: bytes, feeds: Mapping[str, Any], texts: str = KINDS["O"]
) -> tuple[pa.Table, pa.Table]:
    """By the server and by ONNX Runtime."""
    model = read(data)
    columns = {name: [f"{name}_{place}" for place in range(values.shape[1])] for name, values in feeds.items()}
    held = {column: feeds[name][:, place] for name in columns for place, column in enumerate(columns[name])}
    types = {column: texts if values.dtype == object else KINDS[values.dtype.kind] for column, values in held.items()}
    server.execute(f"CREATE TABLE {table} (n INT NOT NULL, {', '.join(f'[{c}] {t} NULL' for c, t in types.items())})")
    rows = [
        (number, *(None if value != value else value for value in row))
        for number, row in enumerate(zip(*(values.tolist() for values in held.values()), strict=True))
    ]
    server.insert(table, ["n", *held], rows)
    source = sa.table(table, sa.column("n", sa.Integer()), *(sa.column(name) for name in held))
    program = compiled(model, columns)
    found = pool.fetch(select(program.outputs, source, dialect_of("mssql"), keep=["n"]))
    return found.sort_by("n").drop(["n"]), by_runtime(model, feeds)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(server: Server, open_with: OpenPool, fresh: Callable[[str], str], name: str) -> None:
    case = CASES[name]
    found, wanted = answers(server, open_with("mssqlpython"), fresh("compiled"), exported(case), tried_on(case))
    assert_same(found, wanted, relative=case.relative, absolute=max(case.absolute, 1e-5))


@pytest.mark.parametrize("kind", ["VARCHAR(20)", "NVARCHAR(20)", "NVARCHAR(20) COLLATE Latin1_General_CI_AI"])
def test_texts_are_compared_code_point_by_code_point(
    server: Server, open_with: OpenPool, fresh: Callable[[str], str], kind: str
) -> None:
    texts = ["a", "A", "a ", " a", "", " ", "it's", "ä", "b"]
    model = single(
        "LabelEncoder", {"x": matrix("s", 1)}, {"y": matrix("i", 1)},
        keys_strings=["a", "a ", "", "it's", "ä"], values_int64s=[1, 2, 3, 4, 5],
    )  # fmt: skip
    rows = np.array([texts], object).T
    found, wanted = answers(server, open_with("mssqlpython"), fresh("texts"), model, {"x": rows}, kind)
    assert_same(found, wanted)


@pytest.mark.parametrize("kind", ["s", "i"])
def test_an_unknown_category_fails_and_is_named(
    server: Server, open_with: OpenPool, fresh: Callable[[str], str], kind: str
) -> None:
    known = {"s": {"cats_strings": ["a", "b"]}, "i": {"cats_int64s": [0, 1]}}[kind]
    model = single("OneHotEncoder", {"x": matrix(kind, 1)}, {"y": matrix("f", 2)}, flattened=True, zeros=0, **known)
    rows = np.array([["a"], ["b"]], object) if kind == "s" else np.array([[0], [1]])
    found, wanted = answers(server, open_with("mssqlpython"), fresh("known"), model, {"x": rows})
    assert_same(found, wanted)
    unknown = np.vstack([rows, np.array([["seven"]], object) if kind == "s" else np.array([[7]])])
    with pytest.raises(Exception, match=r"(seven|7) is no category of ai.onnx.ml.OneHotEncoder 'it'"):
        refused(server, open_with("mssqlpython"), fresh("unknown"), model, unknown)


def refused(server: Server, pool: MssqlPool, table: str, model: bytes, rows: Any) -> None:
    """ONNX Runtime is not asked: it fails, too."""
    server.execute(f"CREATE TABLE {table} (n INT NOT NULL, x {KINDS[rows.dtype.kind]} NULL)")
    server.insert(table, ["n", "x"], [(number, value) for number, value in enumerate(rows[:, 0].tolist())])
    source = sa.table(table, sa.column("n", sa.Integer()), sa.column("x"))
    pool.fetch(select(compiled(read(model), ["x"]).outputs, source, dialect_of("mssql"), keep=["n"]))
