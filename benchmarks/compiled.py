"""Models on DuckDB: the engine's SQL, ONNX Runtime over the same rows, and orbital's SQL of what it can compile.

orbital (posit-dev/orbital, which also compiles scikit-learn to SQL) has an environment of its own, made once under
data/, since it pins an older ONNX. Every way reads the table and gives one number per predicted column. They take
turns; the mean of the runs counts, planning included. Compiling is apart.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import onnxruntime as ort
import pyarrow as pa
import sqlalchemy as sa
from rich.table import Table

from benchmarks.environments import python_with
from benchmarks.estimators import COLUMNS, LEVELS, TEXTS, estimators
from benchmarks.setting import LeftOut
from benchmarks.turns import in_turns, timed
from onnx_pipeline.engines.sql.compiler import compile_model
from onnx_pipeline.engines.sql.dialects.duckdb import DuckDBDialect
from onnx_pipeline.engines.sql.rendering import select
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.outputs import output_columns
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["measure"]

_ROOT = Path(__file__).parent.parent
_ORBITAL = ["orbital==0.6.0"]


def measure(sizes: Sequence[int], mean_of: int, only: Sequence[str]) -> tuple[list[dict[str, Any]], Table]:
    """Seconds and processor seconds per way, and their ratios to the fastest."""
    models = estimators(only)
    theirs, lack = _by_orbital(only)
    results: list[dict[str, Any]] = []
    for rows in sizes:
        with duckdb.connect() as connection:
            connection.register("drawn", _drawn(rows))
            connection.execute("CREATE TABLE t AS FROM drawn").fetchall()
            for name, (estimator, columns) in models.items():
                results += _measured(connection, rows, name, _onnx_of(estimator, columns), columns, theirs, mean_of)
    title = f"Models on DuckDB, mean of {mean_of} in turns"
    headings = ("model", "rows", "way", "seconds", "ratio", "CPU seconds", "ratio", "compiling")
    table = Table(*headings, title=title, caption=lack)
    for row in results:
        table.add_row(
            row["model"], f"{row['rows']:,}", row["way"], f"{row['seconds']:.3f}", f"{row['ratio']:.2f}",
            f"{row['processor_seconds']:.3f}", f"{row['processor_ratio']:.2f}", f"{row['compiling']:.2f}",
        )  # fmt: skip
    return results, table


def _drawn(rows: int) -> pa.Table:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(rows, len(COLUMNS))).astype(np.float32)
    numbers = {name: matrix[:, place] for place, name in enumerate(COLUMNS)}
    return pa.table(numbers | {name: random.choice(LEVELS, size=rows) for name in TEXTS})


def _by_orbital(only: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str]:
    """By model: its SQL or why there is none; and what there is to say about it."""
    try:
        python = python_with("orbital", _ORBITAL)
    except LeftOut as reason:
        return {}, f"orbital is left out: {reason}"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-W", "ignore", "-m", "benchmarks.peers.by_orbital", folder, *only]
        subprocess.run(command, cwd=_ROOT, check=True)
        found = {each["model"]: each for each in map(json.loads, (p.read_text() for p in Path(folder).iterdir()))}
    refused = [f"{name}: {each['refused']}" for name, each in found.items() if each["refused"]]
    return found, "\n".join(["orbital refuses", *refused]) if refused else ""


def _onnx_of(estimator: Any, columns: Sequence[str]) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    types: Any = [("features", FloatTensorType([None, len(columns)]))]
    if set(columns) & set(TEXTS):
        types = [(name, (StringTensorType if name in TEXTS else FloatTensorType)([None, 1])) for name in columns]
    data: bytes = to_onnx(estimator, initial_types=types, options=options).SerializeToString()
    return data


def _measured(
    connection: duckdb.DuckDBPyConnection,
    rows: int,
    name: str,
    data: bytes,
    columns: Sequence[str],
    theirs: dict[str, dict[str, Any]],
    mean_of: int,
) -> list[dict[str, Any]]:
    started = time.perf_counter()
    ours = _aggregated(connection, _compiled(data, columns))
    compiling = {"sql": time.perf_counter() - started}
    session = ort.InferenceSession(data)
    ways: dict[str, Callable[[], object]] = {
        "sql": lambda: connection.execute(ours).fetchall(),
        "onnxruntime": lambda: _scored(connection, session, columns),
    }
    peer = theirs.get(name, {})
    if peer.get("sql"):
        statement = _aggregated(connection, peer["sql"])
        compiling["orbital"] = peer["compiling"]
        ways["orbital"] = lambda: connection.execute(statement).fetchall()
    measured = in_turns({way: lambda run=run: timed(run) for way, run in ways.items()}, mean_of)
    means = {way: np.mean(found, axis=0).tolist() for way, found in measured.items()}
    fastest, least = (min(mean[place] for mean in means.values()) for place in range(2))
    return [
        {"model": name, "rows": rows, "way": way, "seconds": round(seconds, 4), "ratio": round(seconds / fastest, 2),
         "processor_seconds": round(spent, 4), "processor_ratio": round(spent / least, 2),
         "compiling": round(compiling.get(way, 0), 3)}
        for way, (seconds, spent) in means.items()
    ]  # fmt: skip


def _compiled(data: bytes, columns: Sequence[str]) -> str:
    model = OnnxModel.from_bytes(data, options=RuntimeOptions(trust_models=True))
    made = compile_model(
        model.normalised,
        model.bind(columns if len(model.signature.inputs) == 1 else None),
        output_columns(model.signature),
    )
    dialect = DuckDBDialect()
    source = sa.table("t", *(sa.column(name, sa.Unicode() if name in TEXTS else sa.REAL()) for name in columns))
    statement = select(made.outputs, source, dialect)
    return str(statement.compile(dialect=dialect.renders_by, compile_kwargs={"literal_binds": True}))


def _aggregated(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement with its columns taken together, so that no way pays for handing out rows."""
    names = [column[0] for column in connection.execute(f"SELECT * FROM ({statement}) LIMIT 0").description or []]
    largest = ", ".join(f'max("{name}")' for name in names)
    return f"SELECT {largest} FROM ({statement})"


def _scored(connection: duckdb.DuckDBPyConnection, session: ort.InferenceSession, columns: Sequence[str]) -> None:
    """As the engine `onnxruntime` does, without its writing."""
    name, *more = [each.name for each in session.get_inputs()]
    listed = ", ".join(f'"{column}"' for column in columns)
    for batch in connection.sql(f"SELECT {listed} FROM t").to_arrow_reader(122_880):
        if more:
            arrays = [column.to_numpy(zero_copy_only=False).reshape(-1, 1) for column in batch.columns]
            session.run(None, dict(zip([name, *more], arrays, strict=True)))
            continue
        matrix = np.empty((batch.num_rows, batch.num_columns), np.float32)
        for start in range(0, batch.num_rows, 2048):
            for index, column in enumerate(batch.columns):
                matrix[start : start + 2048, index] = column[start : start + 2048].to_numpy(zero_copy_only=False)
        session.run(None, {name: matrix})
