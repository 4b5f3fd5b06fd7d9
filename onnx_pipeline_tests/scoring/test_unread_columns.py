"""Columns that move no prediction stay in the pool: what that means for features, NULLs, settings and the log."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from skl2onnx import to_onnx
from sklearn.tree import DecisionTreeRegressor

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.scoring.pending import pending
from onnx_pipeline_tests.engines.parity import NUMBERS, PARTS, Case, Scored, rows
from onnx_pipeline_tests.pools.grounds import DuckDBGround

KINDS = ("onnxruntime", "sql")


def stump() -> bytes:
    """A tree over three columns that tests `b` alone."""
    matrix = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    fitted = DecisionTreeRegressor(max_depth=2, random_state=0).fit(matrix, np.sign(matrix[:, 1]))
    return bytes(to_onnx(fitted, matrix[:1]).SerializeToString())


@pytest.fixture
def ground(tmp_path: Path) -> DuckDBGround:
    ground = DuckDBGround(tmp_path)
    ground.store("rows", table())
    return ground


def table() -> pa.Table:
    """`a` and `c` have NULLs, which the tree's exporter says nothing of; `b` has none."""
    whole = rows(gaps=False)
    return rows().set_column(rows().column_names.index("b"), "b", whole["b"])


@pytest.fixture
def scored(ground: DuckDBGround, tmp_path: Path) -> Any:
    def make(kind: str, case: Case | None = None) -> Scored:
        return Scored(ground, tmp_path / kind, case or Case(stump, NUMBERS), {"kind": kind})

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_not_extracted_and_nothing_in_them_matters(kind: str, scored: Any) -> None:
    one = scored(kind)
    assert (one.plan.features, one.plan.unread) == ({"b": "b"}, {"a": "a", "c": "c"})
    found = one.run()
    assert found["p"]["null_counts"] == {"b": 0}
    one.assert_right(table())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stand_in_for_one_is_no_mistake(kind: str, scored: Any) -> None:
    one = scored(kind, Case(stump, NUMBERS, {"a": 0, "b": 1}))
    one.run()
    one.assert_right(table())


def test_a_service_is_sent_every_column(scored: Any, ground: DuckDBGround) -> None:
    spec = Case(stump, NUMBERS).spec({"kind": "remote", "url": "http://127.0.0.1:1/score"})
    assert spec.engine.reads_every_column
    assert not scored("sql").spec.engine.reads_every_column


def test_what_was_scored_with_every_column_stays_scored(
    scored: Any, ground: DuckDBGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a release before did it; the NULLs would be refused there.
    ground.store("rows", rows(gaps=False))
    with monkeypatch.context() as before:
        before.setattr(OnnxModel, "reads", lambda *_: True)
        old = scored("onnxruntime")
        assert set(old.plan.features) == set(NUMBERS)
        old.run()
        origin = old.plan.origin
    for kind in KINDS:
        new = scored(kind)
        assert new.plan.origin == origin
        (sha256,) = {row.model_sha256 for row in ground.pool.scoring_log("parity").values()}
        assert pending(new.spec, ground.pool, partitioning(new.spec), sha256) == []
        new.run(run_id="again")
        new.assert_right(rows(gaps=False))
    assert {row.run_id for row in ground.pool.scoring_log("parity").values()} == {"again"}
    assert set(ground.pool.scoring_log("parity")) == set(PARTS)
