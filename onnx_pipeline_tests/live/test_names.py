"""Schemas and names that need quoting, few and many columns; plain queries are the truth."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.server import Server

Fresh = Callable[[str], str]


def quoted(*names: str) -> str:
    return ".".join("[" + name.replace("]", "]]") + "]" for name in names)


@pytest.fixture
def takes(server: Server) -> Callable[[str], None]:
    """`takes("a ]")` skips the test where the server has no table and column of that name."""

    def check(name: str) -> None:
        table = quoted(f"probe {name}")
        made = server.takes(f"CREATE TABLE {table} ({quoted(name)} INT)")
        works = made and server.takes(f"SELECT {quoted(name)} FROM {table}") and server.takes(f"DROP TABLE {table}")
        if not works:
            pytest.skip(f"this server has no column {name!r}")

    return check


NAMES = ["two words", "with ] bracket", "[all]", "Größe 東京", "mood 🙂", "select", "per%cent? 1st", "quotes \" and '",
         "a:b;c {d} (e) x@y \\z"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_needs_quotes_is_quoted_everywhere(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score, takes: Callable[[str], None],
    name: str,
) -> None:  # fmt: skip
    takes(name)
    mode = "replace" if pool._rows_driver.name == "pyodbc" else "upsert"
    schema, table = fresh(f"schema {name}"), f"visits {name}"
    server.execute(f"CREATE SCHEMA {quoted(schema)}")
    key, feature, day, changed = (f"{part} {name}" for part in ("key", "feature", "day", "changed"))
    columns = f"{quoted(key)} INT NOT NULL, {quoted(feature)} REAL NOT NULL, {quoted(day)} DATE, {quoted(changed)} INT"
    server.execute(f"CREATE TABLE {quoted(schema, table)} ({columns})")
    rows = [(index, index / 4, f"2026-01-0{1 + index % 3}", index) for index in range(90)]
    server.insert(quoted(schema, table), [quoted(part) for part in (key, feature, day, changed)], rows)
    target = f"{schema}.scored {name}"
    spec = ScoringSpec(
        name=fresh("named"), onnx="m", source={"table": f"{schema}.{table}", "changed": changed}, key=[key],
        target=target, load_mode=mode, partitions={"column": day, "every": "day", "start": "2026-01-01"},
        features={"x": feature}, outputs={f"answer {name}": "score"},
    )  # fmt: skip
    keys = ["2026-01-01", "2026-01-02", "2026-01-03"]
    for run in ("run-1", "run-2"):
        assert [piece.partition_key for piece in pending(spec, pool, partitioning(spec), None)] == (
            keys if run == "run-1" else []
        )
        score(spec, weighted_sum({"x": 4.0}), keys, run_id=run)
    full = quoted(*target.split("."))
    found = server.rows(f"SELECT {quoted(key)}, {quoted('answer ' + name)}, partition_key, run_id FROM {full}")
    assert sorted(found) == [(index, float(index), f"2026-01-0{1 + index % 3}", "run-2") for index in range(90)]
    preview = pool.preview(target, {"partition_key": "2026-01-02"}, 5)
    assert preview.num_rows == 5
    assert f"answer {name}" in preview.column_names
    assert server.staging_tables() == []


def test_names_are_found_whatever_their_case(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score
) -> None:
    table = fresh("Visits")
    server.execute(f"CREATE TABLE {table} (Visit_Id INT NOT NULL, Age REAL NOT NULL, Day DATE NOT NULL)")
    server.insert(table, ["Visit_Id", "Age", "Day"], [(1, 2.0, "2026-01-01")])
    spec = ScoringSpec(
        name=table, onnx="m", source=f"DBO.{table.upper()}", key=["VISIT_ID"], target=f"{table}_scored",
        partitions={"column": "day", "every": "day", "start": "2026-01-01"},
    )  # fmt: skip
    score(spec, weighted_sum({"AGE": 4.0}), ["2026-01-01"])
    assert server.rows(f"SELECT Visit_Id, score FROM {table}_scored") == [(1, 8.0)]


def test_two_schemas_hold_targets_of_one_name(
    server: Server, pool: MssqlPool, fresh: Fresh, weighted_sum: MakeModel, score: Score
) -> None:
    table, schemas = fresh("visits"), [fresh("one"), fresh("two")]
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["id", "a"], [(1, 2.0)])
    for weight, schema in enumerate(schemas, start=1):
        server.execute(f"CREATE SCHEMA {schema}")
        spec = ScoringSpec(name=schema, onnx="m", source=table, key=["id"], target=f"{schema}.{table}")
        score(spec, weighted_sum({"a": float(weight)}))
    assert [server.rows(f"SELECT score FROM {schema}.{table}") for schema in schemas] == [[(2.0,)], [(4.0,)]]


@pytest.mark.parametrize("width", [1, 28, 300, 1000])
def test_few_and_many_columns_reach_the_model_in_their_order(
    server: Server, pool: MssqlPool, fresh: Fresh, score: Score, width: int
) -> None:
    from onnx import TensorProto, helper

    from onnx_pipeline.models import OnnxModel

    table, rows = fresh("wide"), 150
    names = [f"f{index}" for index in range(width)]
    kinds = ["REAL"] if width == 1000 else ["REAL", "FLOAT", "INT", "DECIMAL(9, 2)"]
    columns = ", ".join(f"{name} {kinds[index % len(kinds)]} NULL" for index, name in enumerate(names))
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, {columns})")
    matrix = np.random.default_rng(width).integers(-50, 50, (rows, width)).astype(np.float32)
    insert_wide(server, table, names, matrix)
    weights = np.random.default_rng(7).integers(-3, 4, (width, 2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["score"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [width, 2], weights.ravel())],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    spec = ScoringSpec(
        name=table, onnx="m", source=table, key=["id"], target=f"{table}_scored", features=names,
        partitions={"buckets": 2},
    )  # fmt: skip
    score(spec, OnnxModel.from_bytes(data))

    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": matrix})[0]
    outputs = [name for name in pool.preview(spec.target_table, {}, 1).column_names if name.startswith("score_")]
    found = server.rows(f"SELECT {', '.join(quoted(name) for name in outputs)} FROM {spec.target_table} ORDER BY id")
    np.testing.assert_allclose(np.array(found, dtype=np.float32), expected, rtol=1e-5)


def insert_wide(server: Server, table: str, names: Sequence[str], matrix: np.ndarray) -> None:
    """Rows of numbers as literals: a statement binds no more than 2,098 values."""
    columns = ", ".join(["id", *names])
    count = max(1, 20_000 // len(names))
    for start in range(0, len(matrix), count):
        rows = ", ".join(
            f"({start + offset}, {', '.join(f'{value:g}' for value in row)})"
            for offset, row in enumerate(matrix[start : start + count])
        )
        server.execute(f"INSERT INTO {table} ({columns}) VALUES {rows}")


def test_predictions_of_many_classes_become_as_many_columns(
    server: Server, pool: MssqlPool, fresh: Fresh, score: Score
) -> None:
    from onnx import TensorProto, helper

    from onnx_pipeline.models import OnnxModel

    table, classes = fresh("classes"), 200
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, a REAL NOT NULL)")
    server.insert(table, ["id", "a"], [(index, float(index)) for index in range(20)])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["p"])],
        "classes",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, classes])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, classes], list(range(classes)))],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    spec = ScoringSpec(name=table, onnx="m", source=table, key=["id"], target=f"{table}_scored")
    score(spec, OnnxModel.from_bytes(data))
    found = server.rows(f"SELECT * FROM {spec.target_table} ORDER BY id")
    expected = [[float(index * label) for label in range(classes)] for index in range(20)]
    assert [list(row[1 : classes + 1]) for row in found] == expected
