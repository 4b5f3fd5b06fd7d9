"""What holds for an exchange in every pool, on a server."""

from pathlib import Path

import pytest

from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.exchange_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.pools.grounds import Ground


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path) -> Ground:
    return LiveGround(server, open_with("mssqlpython"), tmp_path)
