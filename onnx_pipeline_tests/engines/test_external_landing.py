"""What an engine of the pool has to give, of those that SQL Server runs by scripts: the tests of every engine of the
pool, and what breaks here.
"""

from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline_tests.engines.conftest import ground_of_engine
from onnx_pipeline_tests.pools.grounds import ImitatedGround
from onnx_pipeline_tests.pools.imitation import Fault
from onnx_pipeline_tests.scoring.landing_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.scoring.landing_contract import COUNT, House, visits


# What differs between them is the script, which the parity of all engines shows on each commit.
@pytest.fixture(params=["external_language", pytest.param("external_python", marks=pytest.mark.nightly)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ground(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> ImitatedGround:
    ground = ground_of_engine(kind, tmp_path, request)
    assert isinstance(ground, ImitatedGround)
    return ground


@pytest.fixture
def house(kind: str, ground: ImitatedGround, staging: Any, weighted_sum: Any, outside: None) -> House:
    ground.store("visits", visits())
    return House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), kind)


def test_nothing_but_the_target_and_the_log_stays_in_the_pool(house: House) -> None:
    house.land()
    house.load()
    left = {name for name in house.ground.tables() if name.startswith("onnx_")}
    assert left == {"onnx_scoring_log", "onnx_models"}


# The harder half on each commit: the server did what the statement says, and nobody heard of it.
@pytest.mark.parametrize("after", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["after", "before"])
def test_a_landing_whose_connection_breaks_is_made_anew(house: House, ground: ImitatedGround, after: bool) -> None:
    house.land()
    ground.server.statements.clear()
    house.land()
    statements = list(ground.server.statements)
    assert any("sp_execute_external_script" in statement for statement in statements)
    for at, statement in enumerate(statements, 1):
        ground.server.statements.clear()
        ground.server.fault = Fault(at, None, after)
        assert house.land().rows == COUNT // 2, f"statement {at}: {statement}"
        ground.server.fault = None
        assert len([name for name in ground.tables() if name.startswith("onnx_landing")]) == 1
        assert ground.query("SELECT name, form FROM onnx_models") == [("house", "normalised")]
    house.load()
    assert list(house.scores("east")) == list(range(0, COUNT, 2))
