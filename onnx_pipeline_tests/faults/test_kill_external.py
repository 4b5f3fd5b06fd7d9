"""kill -9 of processes that score by scripts of an imitated SQL Server: each ward is wholly old or new."""

import dataclasses
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline_tests.extension.conftest import library  # noqa: F401 - a fixture
from onnx_pipeline_tests.faults.imitated_ward import PLACES, ImitatedWard, PythonWard, land_in_a_process
from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.ward import forks

HARDEST = ("while the script runs", "when rows have landed and nobody has judged them", "before the commit")
EVERY = tuple(place for place in PLACES if place != "while Python runs")
CASES = [
    ("replace", HARDEST),
    *(pytest.param(mode, EVERY, marks=pytest.mark.nightly) for mode in ("replace", "upsert", "append")),
]


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    return forks("onnx_pipeline_tests.faults.imitated_ward")


class ImitatedKiller(Killer):
    """Kills a process together with the server that it plays; what was committed lies in the file."""

    _ward: ImitatedWard

    def score(self) -> tuple[Any, ...]:
        return land_in_a_process, dataclasses.replace(self._ward, _running=[])


@pytest.mark.parametrize(("mode", "places"), CASES)
def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(
    mode: str,
    places: Sequence[str],
    project_home: Path,
    library: Path,  # noqa: F811
    processes: BaseContext,
) -> None:
    ward = ImitatedWard(project_home, library)
    ward.build()
    killer = ImitatedKiller(ward, processes, mode)
    for place in places:
        killer.kill(place=place)
    assert killer.killed == len(places)


@pytest.mark.parametrize(
    "mode", ["replace", *(pytest.param(mode, marks=pytest.mark.nightly) for mode in ("upsert", "append"))]
)
def test_a_run_killed_while_the_servers_python_scores_leaves_whole_wards(
    mode: str, project_home: Path, processes: BaseContext
) -> None:
    ward = PythonWard(project_home)
    ward.build()
    killer = ImitatedKiller(ward, processes, mode)
    killer.kill(place="while Python runs")
    assert killer.killed == 1
    ward.end()
