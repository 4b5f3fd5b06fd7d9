"""What holds for every pool, wherever the rows of a slice lie: DuckDB's for real, the servers' on an imitation.

`onnx_pipeline_tests/live/` runs the same tests on a server.
"""

from pathlib import Path

import pyarrow as pa
import pytest

from onnx_pipeline_tests.pools.conftest import rows_of
from onnx_pipeline_tests.pools.contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.pools.grounds import IMITATED, KINDS, Ground, ImitatedGround, ground_of
from onnx_pipeline_tests.pools.imitation import Fault


@pytest.fixture(params=KINDS)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return ground_of(request.param, tmp_path)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
@pytest.mark.parametrize("kind", IMITATED)
def test_stored_rows_are_loaded_once_wherever_the_connection_breaks(
    kind: str, mode: str, after: bool, tmp_path: Path
) -> None:
    ground = ImitatedGround(kind, tmp_path)

    def prepared() -> object:
        ground.server.fault = None
        ground.load()
        ground.query("DELETE FROM predictions")
        ground.query("DELETE FROM onnx_scoring_log")
        if mode != "append":
            ground.load(ground.piece("staged", rows_of(0, 9, 1.0)), mode=mode)
        piece = ground.piece("stored table", rows_of(0, 8, 2.0), run_id="run-2")
        ground.server.statements.clear()
        return piece

    ground.load(prepared(), mode=mode)
    statements = list(ground.server.statements)
    expected = [("p1", "run-1", 1.0, 1), ("p1", "run-2", 2.0, 8)] if mode == "upsert" else [("p1", "run-2", 2.0, 8)]
    for at, statement in enumerate(statements, 1):
        piece = prepared()
        ground.server.fault = Fault(at, None, after)
        (loaded,) = ground.load(piece, mode=mode)
        assert ground.standing() == expected, f"statement {at}: {statement}"
        assert ground.logged() == [("p1", "run-2", 8)]
        assert loaded.inserted + loaded.updated == loaded.present == 8
        assert not ground.server.locks
        if not (statement.startswith("IF OBJECT_ID") and "DROP" in statement):
            assert "landed" not in ground.tables(), f"statement {at}: {statement}"


@pytest.mark.parametrize("kind", IMITATED)
def test_rows_that_the_pool_holds_are_sent_nowhere(kind: str, tmp_path: Path) -> None:
    ground = ImitatedGround(kind, tmp_path)
    piece = ground.piece("stored table", rows_of(0, 5, 1.0))
    ground.load(piece)
    assert not any("BULK" in text or text.startswith("COPY") for text in ground.server.statements)


@pytest.mark.parametrize("kind", IMITATED)
def test_stored_rows_whose_text_alone_was_touched_are_refused(kind: str, tmp_path: Path) -> None:
    ground = ImitatedGround(kind, tmp_path)
    piece = ground.piece("stored table", rows_of(0, 5, 1.0))
    ground.store("landed", rows_of(0, 5, 1.0).set_column(2, "label", pa.array(["other"] * 5)))
    with pytest.raises(StagingError, match="label: the values judged sum to"):  # noqa: F405
        ground.load(piece)
