"""kill -9 of processes that score, and several of them at once: each ward is wholly old or wholly new."""

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from onnx_pipeline_tests.faults.ward import WARDS, until
from onnx_pipeline_tests.live.conftest import DRIVERS
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.live.ward import PLACES, LiveWard, score_in_a_process

MODES = ("replace", "upsert", "append")
MOMENTS = 6
"""Of each load mode at which a run is killed, from its start to its end."""


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """Forks of a server that has imported everything: a process is there at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onnx_pipeline_tests.live.ward", "onnxruntime", "mssql_python"])
    return context


@pytest.fixture
def ward(server: Server, project_home: Path) -> Iterator[LiveWard]:
    """80,000 visits of four wards."""
    scheme, rows = DRIVERS["mssqlpython"]
    ward = LiveWard(project_home, server.url(scheme, rows=rows, lock_timeout="120"), server)
    ward.build()
    yield ward
    ward.clear()


class Killer:
    """Runs scorings in processes of their own and kills them; the two models take turns, so that old and new differ."""

    def __init__(self, ward: LiveWard, processes: BaseContext, mode: str) -> None:
        self._ward, self._processes, self._mode = ward, processes, mode
        self._round = 0
        self._standing: dict[str, str] = {}
        self.killed = 0

    def _start(self, run_id: str, model: str, place: str | None) -> multiprocessing.process.BaseProcess:
        arguments = (self._ward.home, self._ward.url, self._mode, model, run_id, place)
        process = self._processes.Process(target=score_in_a_process, args=arguments)  # type: ignore[attr-defined]
        process.start()
        return process

    def undisturbed(self) -> float:
        """Seconds that a run takes."""
        process = self._start("undisturbed", "first", None)
        until((self._ward.home / "undisturbed.started").exists)
        started = time.monotonic()
        process.join()
        assert process.exitcode == 0
        self._standing = self._ward.assert_whole(self._mode)
        return time.monotonic() - started

    def kill(self, *, place: str | None = None, delay: float = 0.0) -> None:
        """Kill a run at a place or after a delay; then look, run again, and look again."""
        self._round += 1
        model = ("first", "second")[self._round % 2]
        if self._mode == "append":
            self._empty()
        before = self._standing
        run_id = f"killed-{self._mode}-{self._round}"
        process = self._start(run_id, model, place)
        until((self._ward.home / f"{run_id}.{'started' if place is None else 'there'}").exists)
        time.sleep(delay)
        process.kill()
        process.join()
        self.killed += not (self._ward.home / f"{run_id}.ended").exists()

        after = self._settled()
        changed = [key for key in WARDS if after.get(key) != before.get(key)]
        assert {after[key] for key in changed} <= {run_id}
        assert changed == list(WARDS[: len(changed)]), "wards are loaded in order"

        again = f"again-{self._mode}-{self._round}"
        score_in_a_process(self._ward.home, self._ward.url, self._mode, model, again, None)
        self._standing = self._ward.assert_whole(self._mode)
        kept = changed if self._mode == "append" else []
        assert self._standing == {key: run_id if key in kept else again for key in WARDS}
        self._ward.assert_scored(self._mode, model)
        assert self._ward.server is not None
        assert self._ward.server.staging_tables() == []

    def _settled(self) -> dict[str, str]:
        """What stands once the server has noticed that the process is gone: a commit may have been on its way."""
        seen = self._ward.assert_whole(self._mode)
        for _ in range(20):
            time.sleep(0.1)
            now = self._ward.assert_whole(self._mode)
            if now == seen:
                return now
            seen = now
        return seen

    def _empty(self) -> None:
        if self._standing:
            assert self._ward.server is not None
            self._ward.server.execute("DELETE FROM scores_append")
            self._ward.server.execute("DELETE FROM onnx_scoring_log")
            self._standing = {}


@pytest.fixture(params=MODES)
def killer(request: pytest.FixtureRequest, ward: LiveWard, processes: BaseContext) -> Killer:
    return Killer(ward, processes, request.param)


def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(killer: Killer) -> None:
    for place in PLACES:
        killer.kill(place=place)
    assert killer.killed == len(PLACES)


def test_a_run_killed_at_any_moment_leaves_whole_wards_and_running_again_gives_the_same_table(killer: Killer) -> None:
    seconds = killer.undisturbed()
    for moment in range(MOMENTS):
        killer.kill(delay=seconds * moment / MOMENTS)
    assert killer.killed >= MOMENTS // 2, "most runs ended before they were killed"


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_processes_that_score_the_same_wards_at_once_all_succeed(
    ward: LiveWard, processes: BaseContext, mode: str
) -> None:
    runs = [f"run-{number}" for number in range(4)]
    children = [
        processes.Process(target=score_in_a_process, args=(ward.home, ward.url, mode, "first", run, None))  # type: ignore[attr-defined]
        for run in runs
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(240)
    assert [child.exitcode for child in children] == [0] * len(runs)
    standing = ward.assert_whole(mode)
    assert set(standing) == set(WARDS)
    assert set(standing.values()) <= set(runs)
    ward.assert_scored(mode, "first")
    assert ward.server is not None
    assert ward.server.staging_tables() == []


def test_of_processes_that_append_the_same_wards_at_once_one_loads_each(ward: LiveWard, processes: BaseContext) -> None:
    runs = [f"run-{number}" for number in range(3)]
    children = [
        processes.Process(target=score_in_a_process, args=(ward.home, ward.url, "append", "first", run, None))  # type: ignore[attr-defined]
        for run in runs
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(240)
    assert 0 in [child.exitcode for child in children], "none succeeded"
    assert set(ward.assert_whole("append")) == set(WARDS)
    ward.assert_scored("append", "first")
