"""What holds for an exchange in every pool: DuckDB's for real, the servers' on an imitation that breaks at every statement.

`onnx_pipeline_tests/live/` runs the same tests on a server.
"""

from pathlib import Path

import pytest

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline_tests.pools.exchange_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.pools.exchange_contract import SIDE, assert_old_or_new, prepared
from onnx_pipeline_tests.pools.grounds import IMITATED, KINDS, Ground, ImitatedGround, ground_of
from onnx_pipeline_tests.pools.imitation import Fault


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


def broken_at(kind: str, folder: Path, fault: Fault | None) -> tuple[ImitatedGround, PoolError | None]:
    """An exchange with a fault, counted from its first statement on."""
    folder.mkdir(exist_ok=True)
    ground = ImitatedGround(kind, folder)
    work = prepared(ground)
    ground.server.statements.clear()
    ground.server.fault = fault
    try:
        ground.pool.exchange(work)
    except PoolError as error:
        return ground, error
    finally:
        ground.server.fault = None
    return ground, None


@pytest.mark.parametrize("after", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["after", "before"])
@pytest.mark.parametrize("kind", IMITATED)
def test_a_connection_that_breaks_at_any_statement_is_tried_again(kind: str, after: bool, tmp_path: Path) -> None:
    ground, _ = broken_at(kind, tmp_path, None)
    statements = list(ground.server.statements)
    assert len(statements) > 5
    for at, statement in enumerate(statements, 1):
        ground, error = broken_at(kind, tmp_path, Fault(at, None, after))
        assert error is None, f"statement {at}: {statement}"
        assert assert_old_or_new(ground, f"statement {at}: {statement}"), f"statement {at}: {statement}"
        assert not ground.server.locks


@pytest.mark.parametrize("kind", IMITATED)
def test_what_does_not_pass_leaves_the_old_rows_with_their_log_or_the_new_ones_with_theirs(
    kind: str, tmp_path: Path
) -> None:
    ground, _ = broken_at(kind, tmp_path, None)
    statements = list(ground.server.statements)
    failed = 0
    for at, statement in enumerate(statements, 1):
        for after in (False, True):
            ground, error = broken_at(kind, tmp_path, Fault(at, 8152, after))
            failed += error is not None
            is_new = assert_old_or_new(ground, f"statement {at}: {statement}")
            assert is_new or error is not None
            if not is_new:
                # It can be done again.
                assert ground.query(f"SELECT COUNT(*) FROM {SIDE}") == [(40,)]
    assert failed > len(statements)


@pytest.mark.parametrize("kind", IMITATED)
def test_more_than_one_transaction_takes_is_refused_with_the_tables_as_they_were(kind: str, tmp_path: Path) -> None:
    ground = ImitatedGround(kind, tmp_path)
    work = prepared(ground)
    ground.pool.slice_limit = 1000
    with pytest.raises(PoolError, match=r"(?s)moves 0 MB in one transaction.*slice_limit.*scores nothing twice"):
        ground.pool.exchange(work)
    assert not assert_old_or_new(ground)
    ground.pool.slice_limit = 1_000_000
    ground.pool.exchange(work)
    assert assert_old_or_new(ground)
