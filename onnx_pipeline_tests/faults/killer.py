"""kill -9 of processes that score, at chosen places and at any moment; what stands afterwards, and after a rerun."""

import multiprocessing
import time
from multiprocessing.context import BaseContext
from typing import Any

from onnx_pipeline_tests.faults.ward import WARDS, Ward, score_in_a_process, until


class Killer:
    """Runs scorings in processes of their own and kills them; the two models take turns, so that old and new differ."""

    def __init__(self, ward: Ward, processes: BaseContext, mode: str) -> None:
        self._ward, self._processes, self._mode = ward, processes, mode
        self._round = 0
        self._standing: dict[str, str] = {}
        self.killed = 0

    def _start(self, run_id: str, model: str, place: str | None) -> multiprocessing.process.BaseProcess:
        target, *where = self.score()
        process = self._processes.Process(target=target, args=(*where, self._mode, model, run_id, place))  # type: ignore[attr-defined]
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

        after = self.settled()
        changed = [key for key in WARDS if after.get(key) != before.get(key)]
        assert {after[key] for key in changed} <= {run_id}
        assert changed == list(WARDS[: len(changed)]), "wards are loaded in order"

        again = f"again-{self._mode}-{self._round}"
        target, *where = self.score()
        target(*where, self._mode, model, again, None)
        self._standing = self._ward.assert_whole(self._mode)
        kept = changed if self._mode == "append" else []
        assert self._standing == {key: run_id if key in kept else again for key in WARDS}
        self._ward.assert_scored(self._mode, model)

    def kill_at_any_moment(self, moments: int) -> None:
        """Kill runs at so many moments from their start to their end."""
        seconds = self.undisturbed()
        for moment in range(moments):
            before = self.killed
            self.kill(delay=seconds * moment / moments)
            if self.killed == before:
                # It had ended: the machine has become faster since a run was timed.
                seconds *= 0.8
        assert self.killed >= moments // 2, "most runs ended before they were killed"

    def _empty(self) -> None:
        if self._standing:
            self.delete_all("scores_append")
            self.delete_all("onnx_scoring_log")
            self._standing = {}

    def score(self) -> tuple[Any, ...]:
        """The function that scores in a process, and its first arguments: where."""
        return score_in_a_process, self._ward.home

    def settled(self) -> dict[str, str]:
        """What stands once nothing of the killed process is on its way any more."""
        return self._ward.assert_whole(self._mode)

    def delete_all(self, table: str) -> None:
        self._ward.query(f"DELETE FROM {table}")
