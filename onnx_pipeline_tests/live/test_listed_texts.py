"""Which rows have a listed text, by each driver, over every type and collation of text that a server has."""

from collections.abc import Callable

import pytest

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.partitions.listed_texts import LISTED, TEXTS, check, spec_of

TYPES = [
    "CHAR(10)", "VARCHAR(20)", "NCHAR(10)", "NVARCHAR(20)", "NVARCHAR(MAX)", "VARCHAR(20) COLLATE Latin1_General_CS_AS",
    "NVARCHAR(20) COLLATE Latin1_General_CI_AI", "CHAR(10) COLLATE Latin1_General_BIN2",
]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_inventory_predicate_and_placing_agree(
    server: Server, open_with: OpenPool, fresh: Callable[[str], str], kind: str
) -> None:
    table, pool = fresh("regions"), open_with("mssqlpython")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, region {kind} NULL, a REAL NOT NULL)")
    # What the code page of a VARCHAR has not became a question mark: the table is asked what it holds.
    server.insert(table, ["id", "region", "a"], [(index, text, 0.0) for index, text in enumerate(TEXTS)])
    stored = {row[0]: row[1] for row in server.rows(f"SELECT id, CAST(region AS NVARCHAR(40)) FROM {table}")}
    assert len(stored) == len(TEXTS)
    check(pool, spec_of(table, "region", LISTED), "region", stored)


@pytest.mark.parametrize("kind", ["CHAR(10)", "VARCHAR(10)"])
def test_values_that_a_collation_holds_equal_are_partitions_of_their_own(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score, kind: str
) -> None:
    table = fresh("regions")
    server.execute(f"CREATE TABLE {table} (id INT NOT NULL, region {kind} NULL, a REAL NOT NULL)")
    names = ["north"] * 5 + ["NORTH"] * 4 + ["South"] * 3 + ["south", None]
    server.insert(table, ["id", "region", "a"], [(index, name, 0.0) for index, name in enumerate(names)])
    spec = ScoringSpec(
        name=table, onnx="m.onnx", source=table, key=["id"], target=f"{table}_scored",
        partitions={"column": "region", "values": ["north", "NORTH", "South"]},
    )  # fmt: skip
    parts, model = partitioning(spec), weighted_sum({"a": 1.0})
    assert [(piece.partition_key, piece.rows) for piece in pending(spec, pool, parts, None)] == [
        ("north", 5), ("NORTH", 4), ("South", 3),
    ]  # fmt: skip
    score(spec, model, ["north"])
    assert server.rows(f"SELECT id, partition_key FROM {table}_scored ORDER BY id") == [
        (index, "north") for index in range(5)
    ]
    score(spec, model, ["north", "NORTH", "South"], run_id="run-2")
    assert server.rows(f"SELECT id, partition_key FROM {table}_scored ORDER BY id") == [
        (index, name) for index, name in enumerate(names[:12])
    ]
    assert pending(spec, pool, parts, None) == []
