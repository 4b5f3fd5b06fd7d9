"""kill -9 of processes that score by PREDICT of an imitated Synapse pool: each ward is wholly old or wholly new."""

from collections.abc import Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.predicting_ward import PLACES, PredictingWard, land_in_a_process
from onnx_pipeline_tests.faults.ward import forks

HARDEST = ("while PREDICT runs",)
CASES = [
    ("replace", HARDEST),
    *(
        pytest.param(mode, tuple(PLACES), marks=(pytest.mark.nightly, pytest.mark.timeout(900)))
        for mode in ("replace", "upsert", "append")
    ),
]


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    return forks("onnx_pipeline_tests.faults.predicting_ward")


class PredictKiller(Killer):
    """Kills a process together with the pool that it plays; what was committed lies in the file."""

    _ward: PredictingWard

    def score(self) -> tuple[Any, ...]:
        return land_in_a_process, self._ward.home


@pytest.mark.parametrize(("mode", "places"), CASES)
def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(
    mode: str, places: Sequence[str], project_home: Path, processes: BaseContext
) -> None:
    ward = PredictingWard(project_home)
    ward.build()
    killer = PredictKiller(ward, processes, mode)
    for place in places:
        killer.kill(place=place)
    assert killer.killed == len(places)
