"""What every engine does, whoever computes: one suite over all that are registered. A new one joins by its name."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnx_pipeline.base.errors import PredictionError, StagingError
from onnx_pipeline.engines import open_engine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.slices import feature_slices, predict_slices
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.engines.registry import BUILT_IN, engine_kinds
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.conftest import linear_model
from onnx_pipeline_tests.engines.conftest import Server, ground_of_engine
from onnx_pipeline_tests.pools.grounds import Ground

KINDS = (*BUILT_IN, "house_sql", "house_stream")
ROWS = 5_000


@pytest.fixture(params=KINDS)
def options(
    request: pytest.FixtureRequest, file: Path, start_service: Callable[[Path], Server], outside: None
) -> dict[str, Any]:
    """The attribute `engine` of each engine, with what it needs running."""
    kind = str(request.param)
    needs = {"remote": lambda: {"url": f"{start_service(file.parent).url}/models/linear/score"}}
    return {"kind": kind, **needs.get(kind, dict[str, Any])()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """score = 2·a + b, which the engines of the test's own compute by themselves."""
    path = tmp_path / "models" / "linear.onnx"
    path.parent.mkdir()
    path.write_bytes(linear_model(weights=(2.0, 1.0), bias=0.0))
    return path


class Scored:
    """Scores the table `visits` with one engine, and looks at what came of it."""

    def __init__(self, ground: Ground, staging: Staging, file: Path, options: dict[str, Any]) -> None:
        self.pool, self.sql, self.staging, self.file = ground.pool, ground.query, staging, file
        self.spec = ScoringSpec(
            name="visits",
            onnx=str(file),
            source={"table": "visits", "changed": "at"},
            key=["id"],
            partitions={"column": "ward", "values": ["east", "west"]},
            target="scored",
            engine=options,
        )

    def run(self, *keys: str, run_id: str = "run-1") -> None:
        plan = ScoringPlan(self.spec, OnnxModel.load(self.file), self.pool.source(self.spec))
        list(feature_slices(plan, self.pool, self.staging, keys, say=print))
        with closing(open_engine(self.spec.engine, plan.task, RuntimeOptions())) as engine:
            list(predict_slices(plan, engine, self.pool, self.staging, keys, say=print))
        list(load(plan, self.pool, self.staging, keys, run_id=run_id))

    def assert_right(self, where: str = "true") -> None:
        """The target holds the rows of the source that match, scored as plain ONNX Runtime scores them."""
        rows = self.sql(f"SELECT id, a, b FROM visits WHERE {where} ORDER BY id")
        feeds = {
            name: np.array([row[place] for row in rows], np.float32)[:, None] for place, name in ((1, "a"), (2, "b"))
        }
        session = ort.InferenceSession(self.file.read_bytes(), providers=["CPUExecutionProvider"])
        (truth,) = session.run(["score"], feeds)
        found = self.sql("SELECT id, score FROM scored ORDER BY id")
        assert [row[0] for row in found] == [row[0] for row in rows]
        np.testing.assert_allclose([row[1] for row in found], truth[:, 0], rtol=1e-5, atol=1e-6)


@pytest.fixture
def scored(
    staging: Staging, file: Path, options: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> Scored:
    scored = Scored(ground_of_engine(options["kind"], tmp_path, request), staging, file, options)
    scored.sql(
        f"CREATE TABLE visits AS SELECT i AS id, CASE WHEN i % 3 = 0 THEN 'west' ELSE 'east' END AS ward, "
        f"(sin(i) * 5)::REAL AS a, (cos(i) * 3)::REAL AS b, TIMESTAMP '2026-01-01' AS at FROM range({ROWS}) t(i)"
    )
    return scored


def test_every_engine_that_is_registered_is_in_this_suite(outside: None) -> None:
    assert set(engine_kinds()) == set(KINDS)


def test_predictions_are_those_of_plain_onnx_runtime_row_for_row(scored: Scored) -> None:
    scored.run("east", "west")
    scored.assert_right()
    sha256 = hashlib.sha256(scored.file.read_bytes()).hexdigest()
    assert scored.sql("SELECT DISTINCT model_sha256 FROM scored") == [(sha256,)]


def test_a_slice_is_scored_alone_and_again_without_the_other(scored: Scored) -> None:
    scored.run("east", "west")
    scored.sql("UPDATE visits SET a = a + 1 WHERE ward = 'west'")
    scored.sql("DELETE FROM visits WHERE ward = 'west' AND id < 100")
    scored.run("west", run_id="run-2")
    scored.assert_right()
    assert set(scored.sql("SELECT partition_key, run_id FROM scored")) == {("east", "run-1"), ("west", "run-2")}


def test_a_slice_without_rows_is_a_slice_with_none(scored: Scored) -> None:
    scored.sql("DELETE FROM visits WHERE ward = 'west'")
    scored.run("east", "west")
    scored.assert_right()
    assert {key: row.rows for key, row in scored.pool.scoring_log("visits").items()}["west"] == 0


def test_what_the_log_says_is_what_was_scored(scored: Scored) -> None:
    scored.run("east", "west")
    log = scored.pool.scoring_log("visits")
    counted = dict(scored.sql("SELECT partition_key, count(*) FROM scored GROUP BY 1"))
    assert {key: (row.rows, row.fingerprint.rows) for key, row in log.items()} == {
        key: (count, count) for key, count in counted.items()
    }
    assert all(str(row.fingerprint.changed).startswith("2026-01-01") for row in log.values())


def test_a_prediction_that_is_no_number_refuses_its_slice_and_no_other(scored: Scored) -> None:
    scored.sql("UPDATE visits SET a = NULL WHERE id IN (7, 8)")
    with pytest.raises(PredictionError, match="partition 'east': predictions are NULL, NaN or infinite: score in 2 of"):
        scored.run("east", "west")
    with pytest.raises(StagingError, match="since the partition was refused"):
        scored.staging.find("visits", "predictions", "east")
    plan = ScoringPlan(scored.spec, OnnxModel.load(scored.file), scored.pool.source(scored.spec))
    list(load(plan, scored.pool, scored.staging, ["west"], run_id="run-1"))
    scored.assert_right("ward = 'west'")
