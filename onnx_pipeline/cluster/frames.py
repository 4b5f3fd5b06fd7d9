"""Batches of a Spark DataFrame through a model: what `notebook.score` gives to the executors, and what they do."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from onnx_pipeline.cluster.shipping import kept, package
from onnx_pipeline.cluster.spark import give, mapped
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

__all__ = ["batches_of", "scored_frame"]


def scored_frame(
    frame: "DataFrame", facts: Mapping[str, Any], normalised: bytes, how: Mapping[str, Any], schema: "StructType"
) -> "DataFrame":
    """The frame that `OnnxModel.score` makes of each batch, with the arguments `how`."""
    spark = frame.sparkSession
    sha256 = facts["normalised_sha256"]
    told, stored = kept(f"{sha256}.json", json.dumps(facts).encode()), kept(f"{sha256}.onnx", normalised)
    give(spark, told, stored, package=package())
    return mapped(frame, partial(_scored, told.name, stored.name, dict(how)), schema)


def batches_of(frame: "DataFrame") -> Iterator[pa.RecordBatch]:
    """The rows, partition by partition: this process holds one partition at a time."""
    for row in mapped(frame, _packed, "batch binary").toLocalIterator():
        with pa.ipc.open_stream(bytes(row["batch"])) as reader:
            yield from reader


def _scored(
    told: str, stored: str, how: Mapping[str, Any], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """In a task."""
    from pyspark import SparkFiles

    model = _model(SparkFiles.get(told), SparkFiles.get(stored))
    for batch in batches:
        yield model.score(batch, **how)


def _packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a task."""
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield pa.RecordBatch.from_pydict({"batch": pa.array([sink.getvalue().to_pybytes()], pa.binary())})


@lru_cache(maxsize=4)
def _model(told: str, stored: str) -> OnnxModel:
    """Once per process, which Spark keeps for further tasks, and which has one core for each."""
    facts = json.loads(Path(told).read_text(encoding="utf-8"))
    return OnnxModel.from_description(Path(stored).read_bytes(), facts, options=RuntimeOptions(intra_op_threads=1))
