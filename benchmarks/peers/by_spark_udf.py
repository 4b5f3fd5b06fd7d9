"""Parquet to Parquet in one Spark session, in several ways: `python -m benchmarks.peers.by_spark_udf <folder> <model>`.

Runs in the environment that has MLflow. Each line of the input names a way, and is answered with its seconds.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import duckdb
import onnx
from pyspark.sql import DataFrame, SparkSession

from benchmarks.setting import make_pool
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parquet_parts import plan_parts
from onnx_pipeline.cluster.shipping import package
from onnx_pipeline.cluster.spark import carry_out, parallelism
from onnx_pipeline.cluster.work import settled
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools import open_pool
from onnx_pipeline.sample.encounters import TREE_FEATURES
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec

_KEY = "encounter_id"
_GROUP_ROWS = 122_880
_MOST_ROWS = 1_000_000
_PARTS_PER_CORE = 3
Run = Callable[[Path], object]


def main() -> None:
    folder, model = map(Path, sys.argv[1:3])
    features = folder / "features"
    features.mkdir()
    with duckdb.connect(str(folder / "pool.duckdb"), read_only=True) as connection:
        columns = ", ".join((_KEY, *(f"CAST({name} AS REAL) AS {name}" for name in TREE_FEATURES)))
        file = features / "features.parquet"
        copied = f"COPY (SELECT {columns} FROM encounters) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE {_GROUP_ROWS})"
        connection.execute(copied).fetchall()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master(os.environ["ONNX_PIPELINE_SPARK"])
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    rows = spark.read.parquet(str(features))
    ways = {
        "mlflow spark_udf": _spark_udf(spark, rows, model, folder),
        "mapInPandas": _recipe(rows, model, by_arrow=False),
        "mapInArrow": _recipe(rows, model, by_arrow=True),
        "spark": _ours(spark, folder, features, model),
    }
    for line in sys.stdin:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        with redirect_stdout(sys.stderr):
            started = time.perf_counter()
            ways[line.strip()](out)
            seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds}), flush=True)


def _spark_udf(spark: SparkSession, rows: DataFrame, model: Path, folder: Path) -> Run:
    import mlflow
    from pyspark.sql.functions import struct

    saved = folder / "mlflow"
    mlflow.onnx.save_model(onnx.load(str(model)), str(saved))
    udf = mlflow.pyfunc.spark_udf(spark, str(saved), result_type="double", env_manager="local")
    scored = rows.select(_KEY, udf(struct(*TREE_FEATURES)).alias("prediction"))
    return lambda out: scored.write.parquet(str(out))


def _recipe(rows: DataFrame, model: Path, *, by_arrow: bool) -> Run:
    """As pages on the web have it: a session per task, and each batch as one matrix."""
    data, names, key = model.read_bytes(), list(TREE_FEATURES), _KEY

    def by_pandas(batches: Iterator[Any]) -> Iterator[Any]:
        import numpy as np
        import onnxruntime as ort
        import pandas as pd

        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        for batch in batches:
            matrix = batch[names].to_numpy(np.float32)
            answer = session.run(None, {session.get_inputs()[0].name: matrix})[0]
            yield pd.DataFrame({key: batch[key], "prediction": answer.reshape(-1)})

    def by_batches(batches: Iterator[Any]) -> Iterator[Any]:
        import numpy as np
        import onnxruntime as ort
        import pyarrow as pa

        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        for batch in batches:
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
            matrix = np.column_stack(columns).astype(np.float32)
            answer = session.run(None, {session.get_inputs()[0].name: matrix})[0]
            yield pa.record_batch({key: batch.column(key), "prediction": answer.reshape(-1)})

    schema = f"{_KEY} bigint, prediction float"
    scored = rows.mapInArrow(by_batches, schema) if by_arrow else rows.mapInPandas(by_pandas, schema)
    return lambda out: scored.write.parquet(str(out))


def _ours(spark: SparkSession, folder: Path, features: Path, path: Path) -> Run:
    """The tasks of the engine `spark`, without what its pool does before and after."""
    make_pool(folder / "small.duckdb", 1)
    spec = ScoringSpec(name="peer", onnx=str(path), source="encounters", key=[_KEY], target="scored")
    model = OnnxModel.load(str(path))
    task = ScoringPlan(spec, model, open_pool(f"duckdb:///{folder}/small.duckdb").source(spec)).task

    def run(out: Path) -> None:
        wanted = parallelism(spark) * _PARTS_PER_CORE
        plan = plan_parts(str(features), str(out), ["features.parquet"], most=_MOST_ROWS, wanted=wanted)
        order = Order(
            model.describe(), task.binding, task.outputs, task.nulls, (), [_KEY], RuntimeOptions(), plan
        )  # fmt: skip
        settled(carry_out(spark, order, model.normalised, package(), on_tasks=lambda *_: None), len(plan.parts))

    return run


if __name__ == "__main__":
    main()
