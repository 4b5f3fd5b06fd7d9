"""Which columns hold no NULL, as a server says of tables; of views and queries, which may join, it is not asked."""

import pytest

from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.live.server import Server

MADE = """
CREATE TABLE [Decla'red] (id INT NOT NULL PRIMARY KEY, large BIGINT NOT NULL, maybe INT NULL, kept DECIMAL(9, 2) NOT NULL);
CREATE TABLE fewer (id INT NOT NULL, other INT NOT NULL);
"""
JOINED = "SELECT d.id, d.large, f.other FROM [Decla'red] d LEFT JOIN fewer f ON f.id = d.id"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("dbo.decla'red", {"id", "large", "kept"}), ("joined", set()), ({"query": JOINED}, set())],
)
def test_never_null(source: object, wanted: set[str], pool: MssqlPool, server: Server) -> None:
    server.execute("DROP VIEW IF EXISTS joined; DROP TABLE IF EXISTS [Decla'red]; DROP TABLE IF EXISTS fewer")
    server.execute(MADE)
    server.execute(f"CREATE VIEW joined AS {JOINED}")
    spec = ScoringSpec.model_validate({"name": "s", "onnx": "m.onnx", "key": ["id"], "source": source, "target": "t"})
    assert set(pool.source(spec).never_null()) == wanted
