"""Predictions that a pool computes itself, on every pool: DuckDB's for real, the servers' on an imitation."""

from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.pools.tsql.tables import STAGING_PREFIX, is_of, landing_name, resource_of
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.engines.registry import engine_kinds
from onnx_pipeline_tests.pools.conftest import rows_of, slice_of
from onnx_pipeline_tests.pools.grounds import IMITATED, KINDS, Ground, ImitatedGround, ground_of
from onnx_pipeline_tests.pools.imitation import Fault
from onnx_pipeline_tests.scoring.landing_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.scoring.landing_contract import COUNT, House, visits


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


def test_engines_of_another_package_are_found_by_their_entry_points(outside: None) -> None:
    assert {"house_sql", "house_stream"} <= set(engine_kinds())


# The harder half on each commit: the server did what the statement says, and nobody heard of it.
@pytest.mark.parametrize("after", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["after", "before"])
@pytest.mark.parametrize("kind", IMITATED)
def test_a_landing_whose_connection_breaks_is_made_anew(
    kind: str, after: bool, tmp_path: Path, staging: Staging, weighted_sum: Any, outside: None
) -> None:
    ground = ImitatedGround(kind, tmp_path)
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}))
    ground.store("visits", visits())
    house.land()
    ground.server.statements.clear()
    house.land()
    statements = list(ground.server.statements)
    for at, statement in enumerate(statements, 1):
        ground.server.statements.clear()
        ground.server.fault = Fault(at, None, after)
        assert house.land().rows == COUNT // 2, f"statement {at}: {statement}"
        ground.server.fault = None
        assert len([name for name in ground.tables() if name.startswith("onnx_landing")]) == 1
    house.load()
    assert list(house.scores("east")) == list(range(0, COUNT, 2))


GOING, ENDED = "8a1f6f0e-5d1c-4b7e-9f0a-3c2d1e0f9b8a", "0c9e7d55-1f2a-4e3b-8c4d-5a6b7c8d9e0f"
"""Ids as Dagster makes them."""


@pytest.mark.parametrize("kind", IMITATED)
def test_landings_that_nothing_loaded_are_dropped_once_they_are_old_and_their_run_has_ended(
    kind: str, tmp_path: Path
) -> None:
    ground = ImitatedGround(kind, tmp_path)
    names = {
        name: landing_name("onnx_0123456789abcdef", run, nonce)
        for name, run, nonce in (("ended", ENDED, "a"), ("going", GOING, "b"), ("young", ENDED, "c"))
    }
    for name in names.values():
        ground.query(f"CREATE TABLE {name} (id INT)")
    ground.server.old_tables = {names["ended"], names["going"]}

    def left() -> set[str]:
        return {name for name in ground.tables() if name.startswith("onnx_landing")}

    if kind == "mssql":
        # Nobody knows what is going, so nothing is dropped, whoever else holds no lock of it.
        ground.load(slice_of(rows_of(0, 1, 1.0)))
        assert left() == set(names.values())
    ground.pool = ground.pool.for_run("now", lambda: ["now", GOING])
    ground.load(slice_of(rows_of(0, 1, 1.0)))
    assert left() == {names["going"], names["young"]}


def test_a_landing_is_named_by_its_run_and_no_two_are_named_alike() -> None:
    names = {landing_name("onnx_0123456789abcdef", ENDED, nonce) for nonce in ("a", "b")}
    assert len(names) == 2
    for name in names:
        assert is_of(name, [GOING, ENDED])
        assert not is_of(name, [GOING])
        assert resource_of(name) == "onnx_0123456789abcdef"
        assert not name.startswith(STAGING_PREFIX)
