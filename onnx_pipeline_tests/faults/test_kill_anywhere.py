"""kill -9 of a process that scores, at chosen places and at any moment: each ward is wholly old or wholly new."""

import multiprocessing
import time
from multiprocessing.context import BaseContext

import pytest

from onnx_pipeline_tests.faults.ward import PLACES, WARDS, Ward, score_in_a_process, until

MODES = ("replace", "upsert", "append")
MOMENTS = 10
"""Of each load mode at which a run is killed, from its start to its end."""


class _Killer:
    """Runs scorings in processes of their own and kills them; the two models take turns, so that old and new differ."""

    def __init__(self, ward: Ward, processes: BaseContext, mode: str) -> None:
        self._ward, self._processes, self._mode = ward, processes, mode
        self._round = 0
        self._standing: dict[str, str] = {}
        self.killed = 0

    def _start(self, run_id: str, model: str, place: str | None) -> multiprocessing.process.BaseProcess:
        arguments = (self._ward.home, self._mode, model, run_id, place)
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
        seconds = time.monotonic() - started
        self._standing = self._ward.assert_whole(self._mode)
        return seconds

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

        after = self._ward.assert_whole(self._mode)
        changed = [key for key in WARDS if after.get(key) != before.get(key)]
        assert {after[key] for key in changed} <= {run_id}
        assert changed == list(WARDS[: len(changed)]), "wards are loaded in order"

        again = f"again-{self._mode}-{self._round}"
        score_in_a_process(self._ward.home, self._mode, model, again, None)
        self._standing = self._ward.assert_whole(self._mode)
        kept = changed if self._mode == "append" else []
        assert self._standing == {key: run_id if key in kept else again for key in WARDS}
        self._ward.assert_scored(self._mode, model)

    def _empty(self) -> None:
        if self._standing:
            self._ward.query("DELETE FROM scores_append")
            self._ward.query("DELETE FROM onnx_scoring_log")
            self._standing = {}


@pytest.fixture(params=MODES)
def killer(request: pytest.FixtureRequest, ward: Ward, processes: BaseContext) -> _Killer:
    return _Killer(ward, processes, request.param)


def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(killer: _Killer) -> None:
    for place in PLACES:
        killer.kill(place=place)
    assert killer.killed == len(PLACES)


def test_a_run_killed_at_any_moment_leaves_whole_wards_and_running_again_gives_the_same_table(killer: _Killer) -> None:
    seconds = killer.undisturbed()
    for moment in range(MOMENTS):
        killer.kill(delay=seconds * moment / MOMENTS)
    assert killer.killed >= MOMENTS // 2, "most runs ended before they were killed"
