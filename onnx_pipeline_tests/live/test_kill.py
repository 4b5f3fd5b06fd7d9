"""kill -9 of processes that score, and several of them at once: each ward is wholly old or wholly new."""

import time
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.ward import WARDS, forks
from onnx_pipeline_tests.live.conftest import DRIVERS
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.live.ward import PLACES, LiveWard, score_in_a_process

MODES = ("replace", "upsert", "append")
MOMENTS = 6
"""Of each load mode at which a run is killed, from its start to its end."""


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    return forks("onnx_pipeline_tests.live.ward", "mssql_python")


@pytest.fixture
def ward(server: Server, project_home: Path) -> Iterator[LiveWard]:
    """80,000 visits of four wards."""
    scheme, rows = DRIVERS["mssqlpython"]
    ward = LiveWard(project_home, server.url(scheme, rows=rows, lock_timeout="120"), server)
    ward.build()
    yield ward
    ward.clear()


class LiveKiller(Killer):
    """The same on a server, which notices only after a while that a process is gone."""

    _ward: LiveWard

    def kill(self, *, place: str | None = None, delay: float = 0.0) -> None:
        super().kill(place=place, delay=delay)
        assert self._ward.server is not None
        assert self._ward.server.staging_tables() == []

    def score(self) -> tuple[Any, ...]:
        return score_in_a_process, self._ward.home, self._ward.url

    def settled(self) -> dict[str, str]:
        """A commit may have been on its way."""
        seen = super().settled()
        for _ in range(20):
            time.sleep(0.1)
            now = super().settled()
            if now == seen:
                return now
            seen = now
        return seen

    def delete_all(self, table: str) -> None:
        assert self._ward.server is not None
        self._ward.server.execute(f"DELETE FROM {table}")


@pytest.fixture(params=MODES)
def killer(request: pytest.FixtureRequest, ward: LiveWard, processes: BaseContext) -> LiveKiller:
    return LiveKiller(ward, processes, request.param)


def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(
    killer: LiveKiller,
) -> None:
    for place in PLACES:
        killer.kill(place=place)
    assert killer.killed == len(PLACES)


def test_a_run_killed_at_any_moment_leaves_whole_wards_and_running_again_gives_the_same_table(
    killer: LiveKiller,
) -> None:
    killer.kill_at_any_moment(MOMENTS)


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
