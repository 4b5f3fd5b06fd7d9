"""kill -9 of a process that scores, at chosen places and at any moment: each ward is wholly old or wholly new."""

from multiprocessing.context import BaseContext
from pathlib import Path
from typing import ClassVar

import pytest

from onnx_pipeline_tests.faults.killer import Killer
from onnx_pipeline_tests.faults.ward import PLACES, Ward

MODES = ("replace", "upsert", "append")
MOMENTS = (3, pytest.param(12, marks=(pytest.mark.nightly, pytest.mark.timeout(900))))
"""Of each load mode at which a run is killed, from its start to its end."""


@pytest.fixture(params=MODES)
def killer(request: pytest.FixtureRequest, ward: Ward, processes: BaseContext) -> Killer:
    return Killer(ward, processes, request.param)


def test_a_run_killed_at_any_place_leaves_whole_wards_and_running_again_gives_the_same_table(killer: Killer) -> None:
    for place in PLACES:
        killer.kill(place=place)
    assert killer.killed == len(PLACES)


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_run_killed_at_any_moment_leaves_whole_wards_and_running_again_gives_the_same_table(
    killer: Killer, moments: int
) -> None:
    killer.kill_at_any_moment(moments)


class LargeWard(Ward):
    """Wards whose commits go past DuckDB's log, into the file at once."""

    rows: ClassVar[int] = 60_000


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_large_load_killed_at_any_moment_leaves_whole_wards(
    project_home: Path, processes: BaseContext, moments: int
) -> None:
    ward = LargeWard(project_home)
    ward.build()
    Killer(ward, processes, "replace").kill_at_any_moment(moments)
