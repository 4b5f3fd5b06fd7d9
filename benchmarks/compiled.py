"""Ensembles of trees on DuckDB: the engine's SQL, ONNX Runtime over the same rows, and orbital's SQL where it is there.

orbital (posit-dev/orbital, which also compiles scikit-learn to SQL) is no dependency: `pip install orbital` for its
column. Every way reads the table and gives one number per predicted column. They take turns; the best round counts.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import sqlalchemy as sa
from rich.table import Table

from onnx_pipeline.engines.sql.compiler import compile_model
from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["measure"]

_COLUMNS = [f"c{place}" for place in range(12)]
_ROWS = (10_000, 100_000, 1_000_000)
_MANY_TREES_UP_TO = 100_000
_ROUNDS = 3


def measure() -> tuple[list[dict[str, Any]], Table]:
    """Seconds per way, and the ratio to the fastest; compiling apart."""
    results: list[dict[str, Any]] = []
    for rows in _ROWS:
        with duckdb.connect() as connection:
            connection.register("drawn", _drawn(rows))
            connection.execute("CREATE TABLE t AS FROM drawn").fetchall()
            for name, estimator in _estimators().items():
                if rows <= _MANY_TREES_UP_TO or name.startswith("tree"):
                    results += _measured(connection, rows, name, estimator)
    table = Table("model", "rows", "way", "seconds", "ratio to the fastest", "compiling", title="Trees on DuckDB")
    for row in results:
        table.add_row(
            row["model"], f"{row['rows']:,}", row["way"], f"{row['seconds']:.3f}", f"{row['ratio']:.2f}",
            f"{row['compiling']:.2f}",
        )  # fmt: skip
    if importlib.util.find_spec("orbital") is None:
        table.caption = "orbital is absent: `pip install orbital` to compare with it."
    return results, table


def _drawn(rows: int) -> pa.Table:
    matrix = np.random.default_rng(1).normal(size=(rows, len(_COLUMNS))).astype(np.float32)
    return pa.table({name: matrix[:, place] for place, name in enumerate(_COLUMNS)})


def _estimators() -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    random = np.random.default_rng(0)
    matrix = random.normal(size=(6000, len(_COLUMNS))).astype(np.float32)
    score = (matrix[:, 0] > 0) * matrix[:, 1] + matrix[:, 2] + random.normal(size=6000) * 0.3
    two, three = (score > 0).astype(int), np.digitize(score, [-0.7, 0.7])
    return {
        "tree of depth 8": DecisionTreeRegressor(max_depth=8).fit(matrix, score),
        "tree of depth 8, two classes": DecisionTreeClassifier(max_depth=8).fit(matrix, two),
        "tree of depth 8, three classes": DecisionTreeClassifier(max_depth=8).fit(matrix, three),
        "100 boosted trees": GradientBoostingRegressor(n_estimators=100).fit(matrix, score),
        "100 boosted trees, two classes": GradientBoostingClassifier(n_estimators=100).fit(matrix, two),
        "forest of 100 trees of depth 8": RandomForestClassifier(100, max_depth=8).fit(matrix, two),
    }


def _measured(connection: duckdb.DuckDBPyConnection, rows: int, name: str, estimator: Any) -> list[dict[str, Any]]:
    from skl2onnx import to_onnx

    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    data = to_onnx(estimator, np.zeros((1, len(_COLUMNS)), np.float32), options=options).SerializeToString()
    started = time.perf_counter()
    ours = _aggregated(connection, _compiled(data))
    compiling = {"sql": time.perf_counter() - started}
    session = ort.InferenceSession(data)
    ways: dict[str, Callable[[], object]] = {
        "sql": lambda: connection.execute(ours).fetchall(),
        "onnxruntime": lambda: _scored(connection, session),
    }
    if importlib.util.find_spec("orbital") is not None:
        started = time.perf_counter()
        theirs = _aggregated(connection, _by_orbital(estimator))
        compiling["orbital"] = time.perf_counter() - started
        ways["orbital"] = lambda: connection.execute(theirs).fetchall()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(_ROUNDS):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            best[way] = min(best[way], time.perf_counter() - started)
    fastest = min(best.values())
    return [
        {"model": name, "rows": rows, "way": way, "seconds": round(seconds, 4), "ratio": round(seconds / fastest, 2),
         "compiling": round(compiling.get(way, 0), 3)}
        for way, seconds in best.items()
    ]  # fmt: skip


def _compiled(data: bytes) -> str:
    model = OnnxModel.from_bytes(data, options=RuntimeOptions(trust_models=True))
    made = compile_model(model.normalised, model.bind(_COLUMNS), output_columns(model.signature))
    dialect = DuckDBDialect()
    source = sa.table("t", *(sa.column(name, sa.REAL()) for name in _COLUMNS))
    statement = select(made.outputs, source, dialect)
    return str(statement.compile(dialect=dialect.renders_by, compile_kwargs={"literal_binds": True}))


def _by_orbital(estimator: Any) -> str:
    import orbital
    from sklearn.pipeline import Pipeline

    columns = {name: orbital.types.FloatColumnType() for name in _COLUMNS}
    parsed = orbital.parse_pipeline(Pipeline([("model", estimator)]), features=columns)
    statement: str = orbital.export_sql("t", parsed, dialect="duckdb")
    return statement


def _aggregated(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement with its columns taken together, so that no way pays for handing out rows."""
    names = [column[0] for column in connection.execute(f"SELECT * FROM ({statement}) LIMIT 0").description or []]
    largest = ", ".join(f'max("{name}")' for name in names)
    return f"SELECT {largest} FROM ({statement})"


def _scored(connection: duckdb.DuckDBPyConnection, session: ort.InferenceSession) -> None:
    """As the engine `onnxruntime` does, without its writing."""
    name = session.get_inputs()[0].name
    for batch in connection.execute("FROM t").to_arrow_reader(122_880):
        matrix = np.empty((batch.num_rows, batch.num_columns), np.float32)
        for start in range(0, batch.num_rows, 2048):
            for index, column in enumerate(batch.columns):
                matrix[start : start + 2048, index] = column[start : start + 2048].to_numpy(zero_copy_only=False)
        session.run(None, {name: matrix})
