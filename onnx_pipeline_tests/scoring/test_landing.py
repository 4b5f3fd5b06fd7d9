"""Predictions that a pool computes itself, on every pool: DuckDB's for real, the servers' on an imitation."""

from pathlib import Path

import pytest

from onnx_pipeline.spec.engines.registry import engine_kinds
from onnx_pipeline_tests.pools.grounds import KINDS, Ground, ground_of
from onnx_pipeline_tests.scoring.landing_contract import *  # noqa: F403 - the tests themselves


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


def test_engines_of_another_package_are_found_by_their_entry_points(outside: None) -> None:
    assert {"house_sql", "house_stream"} <= set(engine_kinds())
