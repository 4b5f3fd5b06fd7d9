"""The scoring log of every pool: DuckDB's for real, the servers' on an imitation. `live/` runs the same on a server."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline_tests.pools.conftest import rows_of
from onnx_pipeline_tests.pools.grounds import IMITATED, KINDS, Ground, ImitatedGround, ground_of
from onnx_pipeline_tests.pools.imitation import Connection, Fault
from onnx_pipeline_tests.pools.log_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.pools.log_contract import load, piece_of, prepare_log_of_before


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


def test_duckdb_tells_no_two_tables_apart_by_case(tmp_path: Path) -> None:
    ground = ground_of("duckdb", tmp_path)
    load(ground, piece_of(ground, rows_of(0, 3, 1.0)))
    assert ground.pool.standing("MAIN.Predictions").name == "main.predictions"
    theirs = piece_of(ground, rows_of(0, 9, 7.0), "p2", "run-2", scoring="theirs", table="Main.PREDICTIONS")
    with pytest.raises(TargetError, match="theirs: table main.predictions is the target of scoring scoring"):  # noqa: F405
        load(ground, theirs, target=target_of(table="Main.PREDICTIONS"))  # noqa: F405


@pytest.mark.parametrize("kind", IMITATED)
def test_somebody_who_may_not_alter_the_log_is_told_who_does_it_and_how(kind: str, tmp_path: Path) -> None:
    ground = ImitatedGround(kind, tmp_path)
    prepare_log_of_before(ground)
    arrive = ground.server.arrive

    def refusing(connection: Connection, statement: str, carry_out: Callable[[], Any]) -> Any:
        if "ALTER TABLE onnx_scoring_log" in statement:
            connection.fail(1088)
        return arrive(connection, statement, carry_out)

    ground.server.arrive = refusing  # type: ignore[method-assign]
    with pytest.raises(PoolError, match=r"1088.*its columns `partitions`, `settings`, `target`, and this user may not"):
        ground.pool.ensure_target(target_of(), "scoring")  # noqa: F405
    assert list(ground.pool.scoring_log("scoring")) == ["p1"]


@pytest.mark.parametrize("kind", IMITATED)
def test_wherever_making_a_dropped_target_breaks_the_log_never_says_what_is_not_there(
    kind: str, tmp_path: Path
) -> None:
    def prepared() -> ImitatedGround:
        ground = ImitatedGround(kind, tmp_path)
        load(ground, piece_of(ground, rows_of(0, 3, 1.0), "p1"), piece_of(ground, rows_of(9, 3, 1.0), "p2"))
        ground.query("DROP TABLE predictions")
        ground.server.statements.clear()
        return ground

    ground = prepared()
    ground.pool.ensure_target(target_of(), "scoring")  # noqa: F405
    for at in range(1, len(ground.server.statements) + 1):
        for after in (False, True):
            ground = prepared()
            # A number that no retry helps with: as if the process had ended there.
            ground.server.fault = Fault(at, 207, after)
            with contextlib.suppress(PoolError):
                ground.pool.ensure_target(target_of(), "scoring")  # noqa: F405
            ground.server.fault = None
            scored = ground.pool.scored("scoring", "predictions")
            assert not scored.target.exists or not scored.rows, ground.server.statements
