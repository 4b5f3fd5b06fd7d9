"""`onnx-pipeline metrics`."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.chosen import chosen
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.pools import open_pool
from onnx_pipeline.project import current_project

__all__ = ["export_metrics"]

_logger = logging.getLogger(__name__)


def export_metrics(names: Sequence[str], *, host: str, port: int, every: float, once: Path | None) -> None:
    """Serve `/metrics` until the process is told to stop; `once` writes one look to a file instead, `-` prints it."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server

        from onnx_pipeline.orchestration.metrics.exporter import Exporter
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise SpecError(
            "the exporter needs the package prometheus_client; pip install 'onnx-pipeline[metrics]'"
        ) from error
    logging.getLogger("onnx_pipeline").setLevel(logging.INFO)
    asked, pool = chosen(names), open_pool(pool_url())
    specs = asked.whole
    for scoring, wrong in asked.broken.items():
        _logger.error("%s has no figures: %s", scoring, wrong)
    with _instance() as instance:
        exporter = Exporter(
            specs, pool, ArtifactStoreResource().open(), instance, counters=once is None, broken=asked.broken
        )
        registry = CollectorRegistry()
        registry.register(exporter)
        if once is not None:
            exporter.look()
            _write(once, generate_latest(registry))
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise SpecError(f"cannot listen on {host}:{port} ({error}): choose another --host or --port") from error
        print(f"metrics of {len(specs)} scorings at http://{host}:{server.server_port}/metrics", flush=True)
        while not stop.is_set():
            exporter.look(stop)
            stop.wait(every)
        server.shutdown()


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance | None]:
    """Dagster's own instance; None where it has no home, and so no history of runs."""
    root = current_project().root
    if not os.environ.get("DAGSTER_HOME") and (root / "dagster.yaml").is_file():
        os.environ["DAGSTER_HOME"] = str(root)
    if not os.environ.get("DAGSTER_HOME"):
        sys.stderr.write("DAGSTER_HOME names no folder, so there is no history of runs, and nothing about failures.\n")
        yield None
        return
    with dg.DagsterInstance.get() as instance:
        yield instance


def _write(file: Path, text: bytes) -> None:
    """Put the whole text in place at once: a collector of text files reads at any moment."""
    if str(file) == "-":
        sys.stdout.write(text.decode())
        return
    half = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with writing(file, SpecError, lost="it stays as it was", then="run this again", size=len(text)):
            half.write_bytes(text)
            half.replace(file)
    finally:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
