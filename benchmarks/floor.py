"""The floor: what the work costs in one process without this project.

Reads the columns from DuckDB as Arrow, packs them, runs ONNX Runtime, and writes the target rows with their provenance
by stage, delete and insert in one transaction. Straight-line code: nothing of onnx_pipeline is used.
"""

import datetime
import json
from pathlib import Path

import duckdb
import numpy as np
import onnx
import onnxruntime as ort
import pandas  # noqa: F401 - pyarrow imports it at its first array of numpy's: 0.2 s, which are no work
import pyarrow as pa

__all__ = ["run"]

_CONFIG = {"memory_limit": "256MB", "checkpoint_threshold": "4MB"}
"""What is fastest: a commit of more than 4 MB is written once, into the file, and not into the log before."""
_BATCH_ROWS = 122_880


def run(pool: Path, model: Path) -> int:
    """Score the whole table once; the number of rows."""
    graph = onnx.load_from_string(model.read_bytes())
    names = json.loads({entry.key: entry.value for entry in graph.metadata_props}["feature_names"])
    _remove_zipmap(graph)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    connection = duckdb.connect(str(pool), config=_CONFIG)
    columns = ", ".join(f'CAST("{name}" AS REAL)' for name in names)
    reader = connection.sql(f"SELECT encounter_id, {columns} FROM encounters").to_arrow_reader(_BATCH_ROWS)
    parts = []
    for batch in reader:
        matrix = batch.select(range(1, batch.num_columns)).to_tensor(null_to_nan=True, row_major=True).to_numpy()
        arrays = [batch.column(0)]
        for values in session.run(outputs, {"features": matrix}):
            rows = values.reshape(batch.num_rows, -1)
            arrays += [pa.array(np.ascontiguousarray(rows[:, index])) for index in range(rows.shape[1])]
        parts.append(arrays)
    reader.close()
    fields = [f"c{index}" for index in range(len(parts[0]))]
    predictions = pa.Table.from_batches([pa.RecordBatch.from_arrays(arrays, names=fields) for arrays in parts])
    _write(connection, predictions)
    connection.close()
    return predictions.num_rows


def _remove_zipmap(graph: onnx.ModelProto) -> None:
    for node in list(graph.graph.node):
        if node.op_type == "ZipMap":
            graph.graph.node.remove(node)
            for output in graph.graph.output:
                if output.name == node.output[0]:
                    output.CopyFrom(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))


def _write(connection: duckdb.DuckDBPyConnection, predictions: pa.Table) -> None:
    provenance = (
        f"'all' AS partition_key, '{'0' * 64}' AS model_sha256, TIMESTAMP '{_now()}' AS scored_at, "
        f"'{'0' * 36}' AS run_id"
    )
    connection.register("predictions", predictions)
    empty = f"CREATE TABLE floor_target AS SELECT *, {provenance} FROM predictions LIMIT 0"
    connection.execute(empty).fetchall()
    connection.execute("CREATE TABLE floor_stage AS FROM predictions").fetchall()
    connection.begin()
    connection.execute("DELETE FROM floor_target WHERE partition_key = 'all'").fetchall()
    connection.execute(f"INSERT INTO floor_target SELECT *, {provenance} FROM floor_stage").fetchall()
    connection.commit()
    connection.execute("DROP TABLE floor_stage").fetchall()


def _now() -> str:
    return datetime.datetime.now(tz=datetime.timezone.utc).replace(tzinfo=None).isoformat(sep=" ")
