"""An engine of the pool that is killed, held up or disturbed: each ward is wholly old or wholly new."""

import threading
import time
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from onnx_pipeline.base.errors import PoolBusyError
from onnx_pipeline.pools.duckdb import landing as landing_module
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.ward import LANDING_PLACES, WARDS, Ward, land_in_a_process

MOMENTS = (3, pytest.param(12, marks=(pytest.mark.nightly, pytest.mark.timeout(900))))
"""Of each load mode at which a run is killed, from its start to its end."""


class LandingKiller(Killer):
    def score(self) -> tuple[Any, ...]:
        return land_in_a_process, self._ward.home


@pytest.fixture(params=["replace", "upsert", "append"])
def killer(request: pytest.FixtureRequest, ward: Ward, processes: BaseContext) -> LandingKiller:
    return LandingKiller(ward, processes, request.param)


def test_a_landing_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(
    killer: LandingKiller,
) -> None:
    for place in LANDING_PLACES:
        killer.kill(place=place)
    assert killer.killed == len(LANDING_PLACES)


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_landing_killed_at_any_moment_leaves_whole_wards_and_running_again_gives_the_same_table(
    killer: LandingKiller, moments: int
) -> None:
    killer.kill_at_any_moment(moments)


def test_what_a_killed_landing_left_on_the_disk_is_swept(ward: Ward, processes: BaseContext) -> None:
    import os

    process = processes.Process(  # type: ignore[attr-defined]
        target=land_in_a_process,
        args=(ward.home, "replace", "first", "killed", "when rows have landed and nobody has judged them"),
    )
    process.start()
    there = ward.home / "killed.there"
    while not there.exists():
        time.sleep(0.02)
    process.kill()
    process.join()
    landed = list((ward.home / "data" / "staging").rglob("*.parquet"))
    assert len(landed) == 2
    for file in landed:
        os.utime(file, (0, 0))
    ward.staging.sweep()
    assert not list((ward.home / "data" / "staging").rglob("*.parquet"))


def patiently(work: Callable[[], None]) -> int:
    """What an asset does: try again while that can help. How often it had to."""
    refused = 0
    while True:
        try:
            work()
        except PoolBusyError:  # noqa: PERF203 - trying again is the point
            refused += 1
            time.sleep(0.01)
        else:
            return refused


def hold_the_file(ward: Ward, monkeypatch: pytest.MonkeyPatch, *, seconds: float, patience: float) -> int:
    """Two runs of the same wards, the first of which lands one of them for `seconds`; how often the other was refused."""
    original = landing_module.execute
    began = threading.Event()

    def slowly(connection: Any, statement: Any) -> int:
        if threading.current_thread().name == "first" and not began.is_set():
            began.set()
            time.sleep(seconds)
        return original(connection, statement)

    monkeypatch.setattr(landing_module, "execute", slowly)
    waiting = DuckDBPool.waiting_at_most
    first = threading.Thread(target=patiently, args=(lambda: ward.land("replace", "first", "first"),), name="first")
    first.start()
    assert began.wait(60)
    monkeypatch.setattr(
        Ward, "pool", property(lambda self: waiting(DuckDBPool(self.home / "data" / "pool.duckdb"), patience))
    )
    refused = patiently(lambda: ward.land("replace", "first", "second"))
    first.join()
    return refused


@pytest.mark.parametrize(
    ("seconds", "patience"),
    [
        (1.5, 1.2),
        # As long as a run waits at most for the file, and longer.
        pytest.param(150.0, 120.0, marks=(pytest.mark.nightly, pytest.mark.timeout(600))),
    ],
)
def test_of_two_runs_one_that_holds_the_file_beyond_the_others_patience_both_end_right(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, seconds: float, patience: float
) -> None:
    refused = hold_the_file(ward, monkeypatch, seconds=seconds, patience=patience)
    assert refused >= 1
    standing = ward.assert_whole("replace")
    assert set(standing) == set(WARDS)
    assert set(standing.values()) <= {"first", "second"}
    ward.assert_scored("replace", "first")


def test_the_file_is_free_while_what_landed_is_counted(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    original = landing_module.FileLanding.fetch
    asked = []

    def while_others_use_the_pool(self: Any, statement: Any) -> Any:
        with ward.pool.waiting_at_most(1).connect("somebody else"):
            asked.append(statement)
            return original(self, statement)

    monkeypatch.setattr(landing_module.FileLanding, "fetch", while_others_use_the_pool)
    ward.land("replace", "first", "run-1")
    assert len(asked) == 2 * len(WARDS)
    ward.assert_scored("replace", "first")


def test_processes_that_land_the_same_wards_at_once_all_succeed(ward: Ward, processes: BaseContext) -> None:
    runs = [f"run-{number}" for number in range(3)]
    children = [
        processes.Process(target=land_in_a_process, args=(ward.home, "replace", "first", run, None))  # type: ignore[attr-defined]
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
