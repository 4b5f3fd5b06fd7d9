"""The session that the environment names, one per process: to start one takes seconds."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onnx_pipeline.base.errors import ClusterError, SpecError, first_line
from onnx_pipeline.cluster.spark import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["MASTER", "master", "session"]

MASTER = "ONNX_PIPELINE_SPARK"
_LOCAL = "local"


def master() -> str:
    """The URL of the cluster. Raises SpecError where the environment names none."""
    url = os.environ.get(MASTER, "").strip()
    if not url:
        raise SpecError(
            f"the engine `spark` needs {MASTER} in the environment, the URL of the cluster: `local[*]` for this "
            "machine, `spark://host:7077`, `yarn`, `k8s://https://host`, or `sc://host:15002` for Spark Connect; or "
            "name a command that submits the job, engine: {kind: spark, submit: [spark-submit, --master, yarn]}"
        )
    return url


def session() -> "SparkSession":
    """The session at that URL. Raises SpecError, and ClusterError where the cluster does not answer."""
    url = master()
    found = _sessions.get(url)
    if found is None or _has_ended(found):
        found = _sessions[url] = _opened(url)
    return found


_sessions: dict[str, "SparkSession"] = {}


def _has_ended(spark: "SparkSession") -> bool:
    """Whether somebody stopped it, here or on the cluster."""
    if is_connect(spark):
        return bool(spark.is_stopped)  # type: ignore[attr-defined]  # its twin has it
    context = spark.sparkContext._jsc  # noqa: SLF001 - PySpark has no other word for it
    return context is None or bool(context.sc().isStopped())


def _opened(url: str) -> "SparkSession":
    try:
        return _remote(url) if url.startswith("sc://") else _classic(url)
    except Exception as error:
        raise ClusterError(
            f"no Spark session at {MASTER}={_shown(url)}: {first_line(error, most=300)}. A classic session "
            "needs Java 17 or newer on this machine (JAVA_HOME), and a server has to be reachable from here"
        ) from error


def _remote(url: str) -> "SparkSession":
    # Not by way of SparkSession, which would make this process one that knows no other kind of session.
    from pyspark.sql.connect.session import SparkSession as RemoteSession

    made: SparkSession = RemoteSession.builder.remote(url).getOrCreate()  # type: ignore[assignment]  # its twin
    return made


def _classic(url: str) -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("onnx_pipeline").master(url)
    if url.startswith(_LOCAL):
        # Driver and executors are on this machine: they run this Python, and nobody else has to reach them.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
        builder = builder.config("spark.ui.showConsoleProgress", "false")
    with _interrupts_kept():
        return builder.getOrCreate()


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Who handled SIGINT goes on to: Spark 3.5 puts a handler in its place that asks the JVM in the midst of a call."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGINT, handler)


def _shown(url: str) -> str:
    """A URL of Spark Connect may hold a token."""
    return url.partition(";")[0] if url.startswith("sc://") else url
