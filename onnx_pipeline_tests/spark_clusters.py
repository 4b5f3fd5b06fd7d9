"""Real Spark clusters on loopback, small and quiet, that the tests start, break and end.

Every process of them (driver, master, worker, executor, Spark Connect's server) reads the one folder of settings that
`spark_settings` writes, as every process that a test starts does: its environment names it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from onnx_pipeline_tests import needs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = [
    "LOCAL",
    "LOCAL_CLUSTER",
    "TRIES",
    "Standalone",
    "engine_session",
    "executors_below",
    "python_workers_below",
    "session",
    "spark_connect",
    "spark_home",
    "spark_settings",
    "standalone",
]

LOCAL = "local[2]"
TRIES = "local[2,4]"
"""As `local[2]`, which gives a task one try; here as a cluster does."""
LOCAL_CLUSTER = "local-cluster[2,1,1024]"
"""Two executors of one core and 1 GiB, each a process of its own."""

_JAVA = 17
_INSTALL = (
    "so nothing was tested on Spark: install Java 17 or newer (apt-get install openjdk-17-jre-headless, on Debian 13 "
    "openjdk-21-jre-headless) and the extra `spark` (pip install -c constraints.txt -e '.[spark]')"
)
_SECONDS_TO_START = 120
# Nothing of a test outlives a minute: the first compiler and the plain collector start fastest and take least.
_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_DEFAULTS = f"""\
spark.ui.enabled                     false
spark.ui.showConsoleProgress         false
spark.driver.bindAddress             127.0.0.1
spark.driver.host                    127.0.0.1
spark.driver.memory                  768m
spark.driver.extraJavaOptions        {_JVM}
spark.executor.memory                512m
spark.executor.extraJavaOptions      {_JVM}
spark.executor.heartbeatInterval     2s
spark.sql.shuffle.partitions         2
spark.connect.grpc.binding.address   127.0.0.1
spark.connect.grpc.binding.port      0
"""
# What these tests wait for is said at level INFO.
_LOG = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
logger.master.name = org.apache.spark.deploy.master
logger.master.level = info
logger.worker.name = org.apache.spark.deploy.worker
logger.worker.level = info
logger.connect.name = org.apache.spark.sql.connect.service
logger.connect.level = info
"""


def spark_home() -> Path:
    """The folder of the installed Spark; skips the test where there is none, or no Java. CI must have both."""
    found = find_spec("pyspark")
    lacks = "pyspark is not installed" if found is None or found.origin is None else _java_lacks()
    if lacks is not None:
        needs.lacking(f"{lacks}, {_INSTALL}")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _java_lacks() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        return "there is no Java"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _JAVA:
        return f"Spark 4 needs Java {_JAVA}, and {java} is {said.splitlines()[0] if said else 'silent'}"
    return None


@pytest.fixture(scope="session")
def spark_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of settings, named in the environment of this process and so of all that it starts."""
    home = spark_home()
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(_DEFAULTS)
    (folder / "log4j2.properties").write_text(_LOG)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPARK_HOME", str(home))
        patched.setenv("SPARK_CONF_DIR", str(folder))
        patched.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patched.setenv("SPARK_LOCAL_DIRS", str(folder / "local"))
        patched.setenv("SPARK_WORKER_DIR", str(folder / "work"))
        patched.setenv("SPARK_DAEMON_MEMORY", "640m")  # of a Spark Connect server, too
        patched.setenv("SPARK_DAEMON_JAVA_OPTS", _JVM)
        patched.setenv("PYSPARK_PYTHON", sys.executable)
        patched.setenv("PYSPARK_DRIVER_PYTHON", sys.executable)
        yield folder
        _end_gateway()


def _end_gateway() -> None:
    """End the JVM that classic sessions of this process shared."""
    if (core := sys.modules.get("pyspark.core.context")) is None or (gateway := core.SparkContext._gateway) is None:
        return
    if core.SparkContext._active_spark_context is not None:
        core.SparkContext._active_spark_context.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # for which it waits
    gateway.proc.wait(30)
    core.SparkContext._gateway = core.SparkContext._jvm = None


@contextmanager
def session(url: str, settings: Mapping[str, str] | None = None) -> Iterator["SparkSession"]:
    """A session of a test's own, by the URL as ONNX_PIPELINE_SPARK takes it; one at a time in a process."""
    from pyspark.sql import SparkSession

    if (active := SparkSession.getActiveSession()) is not None:
        active.stop()
    if url.startswith("sc:"):
        # Not by way of SparkSession, which would make this process one that knows no other kind of session.
        from pyspark.sql.connect.session import SparkSession as RemoteSession

        builder = RemoteSession.builder.remote(url)
    else:
        builder = SparkSession.builder.master(url)
    for name, value in (settings or {}).items():
        builder = builder.config(name, value)
    opened = builder.getOrCreate()
    try:
        yield opened
    finally:
        opened.stop()


@contextmanager
def engine_session(url: str, settings: Mapping[str, str] | None = None) -> Iterator["SparkSession"]:
    """The same for the engine `spark`, which takes the one that this process has."""
    from onnx_pipeline.engines.spark.session import MASTER

    with pytest.MonkeyPatch.context() as patched, session(url, settings) as opened:
        patched.setenv(MASTER, url)
        yield opened


def executors_below(process: int) -> list[psutil.Process]:
    """The executors' JVMs among the descendants of a process."""
    return _below(process, "CoarseGrainedExecutorBackend")


def python_workers_below(process: int) -> list[psutil.Process]:
    """The Python processes that run tasks: forks of `pyspark.daemon`, which the JVM of an executor starts."""
    daemons = _below(process, "pyspark.daemon")
    pids = {daemon.pid for daemon in daemons}
    return [daemon for daemon in daemons if daemon.ppid() in pids]


def _below(process: int, argument: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if any(argument in part for part in child.cmdline()):
                found.append(child)
    return found


class Standalone:
    """A master and two workers of one core each, every one a process of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._class, self._folder = home / "bin" / "spark-class", folder
        self._started = 0
        self.workers: list[_Server] = []
        self._master = self._server(
            "master", "master.Master", ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        )
        try:
            self.url = self._master.wait_for(r"Starting Spark master at (spark://\S+)")
            self.whole()
        except BaseException:
            self.end()
            raise

    def whole(self) -> None:
        """Start what workers it lacks."""
        self.workers = [worker for worker in self.workers if worker.process.poll() is None]
        fresh = []
        while len(self.workers) < 2:
            self._started += 1
            # A host each: Spark runs no task a second time on a host where it runs already.
            options = ["--host", f"127.0.0.{self._started}", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
            worker = self._server(f"worker-{self._started}", "worker.Worker", [*options, self.url])
            self.workers.append(worker)
            fresh.append(worker)
        for worker in fresh:
            worker.wait_for("Successfully registered with master")

    def kill_worker(self) -> None:
        """kill -9 one of the workers' processes; its executors end with it."""
        self.workers[0].kill()

    def executors(self) -> list[psutil.Process]:
        """The JVMs of the executors that run now."""
        return [found for worker in self.workers for found in executors_below(worker.process.pid)]

    def python_workers(self) -> list[psutil.Process]:
        """The Python processes of the executors that run now."""
        return [found for worker in self.workers for found in python_workers_below(worker.process.pid)]

    def end(self) -> None:
        for server in (*self.workers, self._master):
            server.end()

    def _server(self, name: str, kind: str, options: Sequence[str]) -> "_Server":
        command = [str(self._class), f"org.apache.spark.deploy.{kind}", *options]
        return _Server(command, self._folder / f"{name}.log")


class _Server:
    """A JVM that runs until it is ended, with its log in a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            # A group of its own: what the JVM starts is ended with it.
            self.process = subprocess.Popen(
                command, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait_for(self, pattern: str) -> str:
        """What the log says it listens on, or the whole match."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(pattern, self._log.read_text(errors="replace")):
                return found[found.re.groups and 1]
            time.sleep(0.1)
        pytest.fail(f"{self._log.stem} did not start: {self._log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)


@pytest.fixture(scope="session")
def standalone(spark_settings: Path) -> Iterator[Standalone]:
    """A cluster with a master of its own; whoever kills a worker asks for a `whole()` one first."""
    folder = spark_settings / "standalone"
    folder.mkdir()
    cluster = Standalone(spark_home(), folder)
    yield cluster
    cluster.end()


@pytest.fixture(scope="session")
def spark_connect(spark_settings: Path) -> Iterator[str]:
    """The URL of a Spark Connect server, which computes by itself with two threads."""
    # As sbin/start-connect-server.sh does, without a daemon.
    submit = [str(spark_home() / "bin" / "spark-submit"), "--master", LOCAL]
    server_class = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    server = _Server([*submit, *server_class], spark_settings / "connect.log")
    try:
        yield f"sc://{server.wait_for(r'Spark Connect server started at: (127.0.0.1:[0-9]+)')}"
    finally:
        server.end()
