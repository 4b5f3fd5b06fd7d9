"""The job for a cluster that takes submissions: `spark-submit job.py <folder>/order.json`.

Beside the order lies the model. The answers go there, too: they are the list of what was written, and what no answer
names is loaded by nobody. The package itself is named by `--py-files`, or installed.
"""

import json
import sys
from collections.abc import Callable
from functools import partial

from onnx_pipeline.base.errors import OnnxPipelineError, SpecError
from onnx_pipeline.cluster.files import files_at
from onnx_pipeline.cluster.order import ANSWERS, MODEL, Order
from onnx_pipeline.cluster.pipes import on_databricks, reporting
from onnx_pipeline.cluster.spark import carry_out
from onnx_pipeline.cluster.work import Answer

__all__ = ["main", "read_answers"]


def main(arguments: list[str]) -> int:
    """Carry out the order at a path or URI; the process's exit code."""
    if len(arguments) != 1:
        print("usage: job.py <folder or az://container/folder>/order.json", file=sys.stderr)  # noqa: T201
        return 2
    place, _, name = arguments[0].rpartition("/")
    try:
        _run(place or ".", name)
    except OnnxPipelineError as error:
        print(f"onnx_pipeline: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def read_answers(place: str) -> list[Answer]:
    """What a job wrote into the folder of its order."""
    found = json.loads(files_at(place).read(ANSWERS))
    return [Answer.from_json(text) for text in found["answers"]]


def _run(place: str, name: str) -> None:
    from pyspark.sql import SparkSession

    files = files_at(place)
    order = Order.from_json(files.read(name).decode())
    if not order.plan.parts:
        raise SpecError(f"{place}/{name} names no parts, so there is nothing to score")
    spark = SparkSession.builder.getOrCreate()
    with reporting() as say:
        answers = carry_out(spark, order, files.read(MODEL), None, on_tasks=partial(_told, say))
        files.write(ANSWERS, json.dumps({"format": 1, "answers": [answer.to_json() for answer in answers]}).encode())
        written = sum(answer.written is not None for answer in answers)
        say(f"{written} parts are written, of {order.plan.rows:,} rows")
    if not on_databricks():
        spark.stop()


def _told(say: Callable[[str], None], done: int, total: int) -> None:
    say(f"{done} of {total} tasks are done")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
