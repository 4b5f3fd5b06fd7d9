"""An order carried out by a Spark session, classic or over Spark Connect: one task for each part.

Tasks move rows themselves, so Spark sees a number go in and a line of text come out. Of a task that Spark tries again,
or runs twice, it gives back one attempt's answer, and what the others wrote is named by nobody.
"""

import logging
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from onnx_pipeline.base.errors import ClusterError
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.shipping import written_down
from onnx_pipeline.cluster.work import Answer, answered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["OnTasks", "carry_out", "give", "is_connect", "mapped", "parallelism"]

OnTasks = Callable[[int, int], None]
"""Hears how many tasks are done, and of how many."""

_logger = logging.getLogger(__name__)

_SCHEMA = pa.schema([("answer", pa.string())])
_LOOK_SECONDS = 1.0
_CANCEL_PAUSES = (0, 0.1, 0.3, 1, 3)
"""Seconds before each attempt to cancel a job."""


def carry_out(
    spark: "SparkSession", order: Order, model: bytes, package: Path | None, *, on_tasks: OnTasks
) -> list[Answer]:
    """What each part came to. Model, order and package travel to each machine once.

    Raises ClusterError where the job itself failed. Where this thread is interrupted, the job is cancelled.
    """
    parts = len(order.plan.parts)
    told, stored = written_down(order, model)
    give(spark, told, stored, package=package)
    made = mapped(spark.range(0, parts, 1, parts), partial(_answers, told.name, stored.name), "answer string")
    with _followed(spark, on_tasks), _failures():
        return [Answer.from_json(row["answer"]) for row in made.collect()]


def give(spark: "SparkSession", *files: Path, package: Path | None) -> None:
    """Files to every machine of the cluster, and a package for their Python, once each."""
    if is_connect(spark):
        spark.addArtifacts(*map(str, files), file=True)
        if package is not None:
            spark.addArtifacts(str(package), pyfile=True)
        return
    # A classic session has addArtifacts since Spark 4; its context has these in 3.5, too.
    for file in files:
        spark.sparkContext.addFile(str(file))
    if package is not None:
        spark.sparkContext.addPyFile(str(package))


def mapped(
    frame: "DataFrame", function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], schema: Any
) -> "DataFrame":
    """The frame that a function makes of the batches of each partition; `schema` as Spark takes it."""
    with warnings.catch_warnings():
        # Arrow goes in and out, and pandas is met nowhere on the way.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        return frame.mapInArrow(function, schema)


def is_connect(spark: "SparkSession") -> bool:
    """Whether the session is one of Spark Connect."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def parallelism(spark: "SparkSession") -> int:
    """How many tasks the cluster runs at once, as far as it says."""
    if not is_connect(spark):
        return int(spark.sparkContext.defaultParallelism)
    return int(spark.conf.get("spark.default.parallelism", None) or 8)


def _answers(order: str, model: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a task: each number that comes is that of a part."""
    from pyspark import SparkFiles

    for batch in batches:
        for number in batch.column(0).to_pylist():
            answer = answered(SparkFiles.get(order), SparkFiles.get(model), number)
            yield pa.RecordBatch.from_pydict({"answer": [answer.to_json()]}, schema=_SCHEMA)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Spark tidies up after an interruption by calls of its own, and Py4J has just closed what they go through.
        interruption = _interruption(error)
        if interruption is not None:
            raise interruption from None
        if not _is_sparks(error):
            raise
        raise ClusterError(f"the Spark job failed: {_cause(str(error))}") from error


def _interruption(error: BaseException) -> BaseException | None:
    """The interruption in whose handling an error was raised, if it was."""
    raised: BaseException | None = error
    while isinstance(raised, Exception):
        raised = raised.__context__
    return raised


def _is_sparks(error: Exception) -> bool:
    """By name: Py4J and gRPC are packages that another kind of session does without."""
    return type(error).__module__.partition(".")[0] in ("pyspark", "py4j", "grpc")


def _cause(text: str) -> str:
    """Of a stack of two languages the line that says what happened: the last one of a task's own error."""
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line.startswith(("onnx_pipeline.", "ModuleNotFoundError", "ImportError"))]
    return (told[-1] if told else next(iter(lines), ""))[:500]


@contextmanager
def _followed(spark: "SparkSession", on_tasks: OnTasks) -> Iterator[None]:
    """The job of the block is told of while it runs, and ended where the block is."""
    with _by_handler(spark, on_tasks) if is_connect(spark) else _by_tracker(spark, on_tasks):
        yield


@contextmanager
def _by_handler(spark: "SparkSession", on_tasks: OnTasks) -> Iterator[None]:
    def heard(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:  # noqa: ARG001 - by name
        known = list(stages or ())
        if known:
            on_tasks(sum(stage.num_completed_tasks for stage in known), sum(stage.num_tasks for stage in known))

    tag = f"onnx_pipeline-{uuid.uuid4().hex}"
    spark.addTag(tag)
    tells = hasattr(spark, "registerProgressHandler")  # not in Spark 3.5
    if tells:
        spark.registerProgressHandler(heard)  # type: ignore[arg-type]  # a function will do, as Spark's own example has it
    try:
        yield
    except BaseException:
        _cancelled_by(partial(spark.interruptTag, tag))
        raise
    finally:
        spark.removeTag(tag)
        if tells:
            spark.removeProgressHandler(heard)  # type: ignore[arg-type]


@contextmanager
def _by_tracker(spark: "SparkSession", on_tasks: OnTasks) -> Iterator[None]:
    context = spark.sparkContext
    group = f"onnx_pipeline-{uuid.uuid4().hex}"
    ended = threading.Event()

    def look() -> None:
        tracker = context.statusTracker()
        done = total = 0
        for job in tracker.getJobIdsForGroup(group):
            found = tracker.getJobInfo(job)
            for stage in found.stageIds if found else ():
                info = tracker.getStageInfo(stage)
                if info is not None:
                    done += info.numCompletedTasks
                    total += info.numTasks
        if total:
            on_tasks(done, total)

    def follow() -> None:
        while not ended.wait(_LOOK_SECONDS):
            _is_answered(look)

    context.setJobGroup(group, "onnx_pipeline scores a partition", interruptOnCancel=True)
    follower = threading.Thread(target=follow, name="spark-progress", daemon=True)
    follower.start()
    try:
        yield
    except BaseException:
        # Not by a tag, which a classic session finds from the very thread alone that was interrupted.
        _cancelled_by(partial(context.cancelJobGroup, group))
        raise
    finally:
        ended.set()
        follower.join()


def _cancelled_by(cancel: Callable[[], object]) -> None:
    """Cancel a job because of an error, which no failure to cancel takes the place of."""
    # Connections break for a while after an interruption, the newest among them.
    for pause in _CANCEL_PAUSES:
        time.sleep(pause)
        if _is_answered(cancel):
            return
    _logger.warning("the Spark job could not be cancelled, and may run on until its tasks end")


def _is_answered(call: Callable[[], object]) -> bool:
    """Make a call that is worth no error of its own: Py4J closes every connection where one thread is interrupted."""
    try:
        call()
    except Exception as error:
        if not _is_sparks(error):
            raise
        _logger.debug("a call of Spark failed: %s", error)
        return False
    return True
