"""The assets' data path: from rows of the pool to loaded predictions, with staging and statistics, without Dagster."""

from contextlib import closing
from pathlib import Path

from onnx_pipeline.engines import open_engine
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools import Pool
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.slices import feature_slices, predict_slices
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["score"]


def score(spec: ScoringSpec, pool: Pool, staging: Staging, model: Path) -> int:
    """Score all partitions by the spec's engine; the number of rows."""
    plan = ScoringPlan(spec, OnnxModel.load(model), pool.source(spec))
    keys = list(plan.partitioning.keys())
    for _ in feature_slices(plan, pool, staging, keys, say=print):
        pass
    with closing(open_engine(spec.engine, plan.task, RuntimeOptions(), print)) as engine:
        rows = sum(piece.rows for piece in predict_slices(plan, engine, pool, staging, keys, say=print))
    for _ in load(plan, pool, staging, keys, run_id="0" * 36):
        pass
    return rows
