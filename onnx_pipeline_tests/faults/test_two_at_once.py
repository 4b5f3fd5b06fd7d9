"""Several runs at once in processes of their own, on one embedded pool."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext

import pytest

from onnx_pipeline_tests.faults.jobs import CHECKOUT, DAYS, Jobs
from onnx_pipeline_tests.faults.ward import WARDS, Ward, score_in_a_process, until


def test_processes_that_score_the_same_wards_at_once_all_succeed(ward: Ward, processes: BaseContext) -> None:
    runs = [f"run-{number}" for number in range(4)]
    children = [
        processes.Process(target=score_in_a_process, args=(ward.home, "replace", "first", run, None))  # type: ignore[attr-defined]
        for run in runs
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * len(runs)
    standing = ward.assert_whole("replace")
    assert set(standing) == set(WARDS)
    assert set(standing.values()) <= set(runs)
    ward.assert_scored("replace", "first")


def test_jobs_over_the_same_and_other_days_and_both_scorings_succeed_at_once(jobs: Jobs) -> None:
    jobs.prepare_instance()
    started = [
        jobs.start(),
        jobs.start(),
        jobs.start(first=DAYS[1], last=DAYS[1]),
        jobs.start("readmission"),
    ]
    for job in started:
        job.succeeds()
    for scoring in ("length_of_stay", "readmission"):
        jobs.assert_whole(scoring)
    jobs.assert_scored()


@pytest.mark.daemon
def test_two_jobs_succeed_while_the_daemon_and_the_webserver_are_up(jobs: Jobs) -> None:
    jobs.prepare_instance()
    with _up(jobs):
        started = [jobs.start(), jobs.start("readmission", DAYS[0], DAYS[1])]
        for job in started:
            job.succeeds()
    for scoring in ("length_of_stay", "readmission"):
        jobs.assert_whole(scoring)
    jobs.assert_scored()


@contextmanager
def _up(jobs: Jobs) -> Iterator[None]:
    """The webserver, answering, and the daemon."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = ["-m", "onnx_pipeline.definitions"]
    commands = {
        "webserver": [sys.executable, "-m", "dagster_webserver", *module, "-h", "127.0.0.1", "-p", str(port)],
        "daemon": [sys.executable, "-m", "dagster._daemon", "run", *module],
    }
    logs = {name: jobs.home / f"{name}.log" for name in commands}
    servers = []
    for name, command in commands.items():
        with logs[name].open("w") as log:
            servers.append(subprocess.Popen(command, env=jobs.environment, cwd=CHECKOUT, stdout=log, stderr=log))

    def answers() -> bool:
        assert all(server.poll() is None for server in servers), [log.read_text()[-3000:] for log in logs.values()]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    try:
        until(answers, seconds=100)
        yield
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(60)
