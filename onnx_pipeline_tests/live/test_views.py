"""`sql compile --view --apply` on a server: the view answers like ONNX Runtime, and holds the model's sha256."""

import numpy as np
import onnxruntime as ort
import pytest
from skl2onnx import to_onnx
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.engines.sql.dialects import dialect_of
from onnx_pipeline.engines.sql.over_table import table_select
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.views import PROPERTY
from onnx_pipeline.pools.views import View
from onnx_pipeline_tests.engines.sql.oracle import read
from onnx_pipeline_tests.live.server import Server

ROWS = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)


def test_a_view(pool: MssqlPool, server: Server) -> None:
    server.execute("DROP VIEW IF EXISTS [scored 'em]; DROP TABLE IF EXISTS [the rows]")
    server.execute("CREATE TABLE [the rows] (id BIGINT, a REAL, [b's] FLOAT)")
    server.insert("[the rows]", ["id", "a", "[b's]"], [(k, *map(float, row)) for k, row in enumerate(ROWS)])
    fitted = DecisionTreeRegressor(max_depth=4, random_state=0).fit(ROWS, ROWS[:, 0] - ROWS[:, 1])
    model = read(to_onnx(fitted, ROWS[:1]).SerializeToString())
    columns = {"keys": ["id", "A"], "features": ["a", "b's"]}
    select = table_select(model, "the rows", dialect_of("mssql"), **columns)
    assert pool.define_view(View("scored 'em", select, model.sha256)) == "dbo.scored 'em"
    found = server.rows("SELECT variable FROM [scored 'em] ORDER BY id")
    truth = ort.InferenceSession(model.normalised).run(None, {"X": ROWS})[0].ravel()
    np.testing.assert_allclose([value for (value,) in found], truth, rtol=1e-5)
    told = "SELECT CAST(value AS VARCHAR(64)) FROM sys.extended_properties WHERE name = ? AND major_id = OBJECT_ID(?)"
    assert server.rows(told, [PROPERTY, "[scored 'em]"]) == [(model.sha256,)]


def test_a_view_or_table_that_somebody_made_is_left_as_it_is(pool: MssqlPool, server: Server) -> None:
    server.execute("DROP VIEW IF EXISTS theirs; DROP TABLE IF EXISTS seen")
    server.execute("CREATE TABLE seen (id INT)")
    server.execute("CREATE VIEW theirs AS SELECT id FROM seen")
    for name in ("theirs", "dbo.seen"):
        with pytest.raises(PoolError, match="is no view that `sql compile` made"):
            pool.define_view(View(name, "SELECT 1 AS one", "ab" * 32))
    assert server.rows("SELECT * FROM theirs") == []
