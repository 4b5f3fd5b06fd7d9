"""The scoring log on a server: targets, their owners and their partitions."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.grounds import Ground
from onnx_pipeline_tests.pools.log_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.pools.log_contract import piece_of


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path) -> Ground:
    return LiveGround(server, open_with("mssqlpython"), tmp_path)


def test_of_two_scorings_that_take_an_empty_target_at_once_one_is_refused(ground: Ground) -> None:
    ground.pool.ensure_target(target_of())  # noqa: F405
    both = Barrier(2)

    def score(scoring: str) -> str:
        piece = piece_of(ground, rows_of(0, 50, 1.0), f"of {scoring}", scoring, scoring=scoring)  # noqa: F405
        both.wait()
        try:
            list(ground.pool.load(target_of(), iter([piece]), "replace", lambda _: None))  # noqa: F405
        except TargetError as error:  # noqa: F405
            assert "is the target of scoring" in str(error)
            return "refused"
        return "loaded"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(score, ["one", "two"])) == ["loaded", "refused"]
    assert len(ground.standing()) == len(ground.logged()) == 1
