"""`onnx-pipeline end-runs`."""

import contextlib
import socket
import time
from typing import Annotated

import typer

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli.terminal import terminal

__all__ = ["end_runs"]

_ANSWERS_WITHIN = 600.0
"""Seconds; what is wrong with a server that does not is not told by runs that stay unfinished."""


def end_runs(
    server: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The code server, as the workspace names it.")],
    before: Annotated[
        float | None, typer.Option(min=0, help="Only runs that began before this time, in seconds since 1970.")
    ] = None,
    settle: Annotated[
        float | None, typer.Option(min=0, help="First wait until the server answers, and so many seconds more.")
    ] = None,
) -> None:
    """End the runs that a code server left unfinished when its container ended, and free their slots.

    For the container that takes its place: such runs would stay `started`. Where run retries are on, the daemon
    launches them again, if by then it knows that the server answers.
    """
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise SpecError(f"{server!r} is no address of a code server; write host and port, e.g. code:4000")
    before = time.time() if before is None else before
    if settle is not None:
        _wait(host, int(port))
        time.sleep(settle)
    from dagster import DagsterInstance

    from onnx_pipeline.orchestration.executor import end_runs_of_server

    with DagsterInstance.get() as instance:
        ended = end_runs_of_server(instance, host, int(port), before=before)
    console = terminal(soft_wrap=True)
    for run_id in ended:
        console.print(f"ended run {run_id}, which the code server {server} had left")
    if not ended:
        console.print(f"the code server {server} left no run unfinished")


def _wait(host: str, port: int) -> None:
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
            return
        time.sleep(1)
