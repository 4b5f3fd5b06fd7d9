"""A query is its author's text, to the byte, by each driver; a WITH and an ORDER BY may be in it."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.conftest import MakeModel, Score
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.query_texts import QUERIES, TEXTS, expected


@pytest.fixture
def texts(server: Server) -> None:
    server.execute(
        "IF OBJECT_ID('texts') IS NULL CREATE TABLE texts (id INT NOT NULL, t NVARCHAR(40) NOT NULL, a REAL NOT NULL)"
    )
    if not server.rows("SELECT id FROM texts"):
        server.insert("texts", ["id", "t", "a"], [(index, text, index / 2) for index, text in enumerate(TEXTS)])


@pytest.mark.usefixtures("texts")
def test_the_pool_reads_what_the_query_says(pool: MssqlPool) -> None:
    for name, (query, chosen) in QUERIES.items():
        spec = ScoringSpec(name="texts", onnx="m.onnx", source={"query": query}, key=["id"], target="unused")
        source = pool.source(spec)
        # Values are bound beside the text.
        statement = sa.select(source.column("id")).where(source.column("t").not_in(["?", "%s"]))
        wanted = [index for index in expected(chosen) if TEXTS[index] not in ("?", "%s")]
        assert sorted(pool.fetch(statement)["id"].to_pylist()) == wanted, name


@pytest.mark.usefixtures("texts")
def test_a_query_with_everything_in_it_is_scored(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], weighted_sum: MakeModel, score: Score
) -> None:
    target = fresh("query_scored")
    query, chosen = QUERIES["WITH and ORDER BY"]
    spec = ScoringSpec(
        name=target, onnx="m.onnx", source={"query": query}, key=["id", "t"], target=target,
        partitions={"column": "t", "values": ["\\:x", "100%", "::y", "%(t)s"]},
    )  # fmt: skip
    inventory = take_inventory(spec, pool, partitioning(spec))
    assert ({key: piece.rows for key, piece in inventory.slices.items()}, inventory.unplaced) == (
        {"\\:x": 1, "100%": 1, "::y": 1, "%(t)s": 1},
        1,
    )
    score(spec, weighted_sum({"a": 2.0}))
    assert server.rows(f"SELECT id, partition_key, score FROM {target} ORDER BY id") == [
        (index, TEXTS[index], float(index)) for index in expected(chosen) if index != 1
    ]
