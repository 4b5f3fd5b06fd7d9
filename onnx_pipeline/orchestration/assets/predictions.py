"""The asset `predictions`: the engine run over the staged features."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from onnx_pipeline.engines import open_engine
from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.step import Step, Work
from onnx_pipeline.orchestration.names import asset_key, upstream_keys
from onnx_pipeline.scoring.predict import PredictedSlice
from onnx_pipeline.scoring.slices import predict_slices

__all__ = ["PREDICTIONS"]


def _work(work: Work) -> Mapping[str, Any]:
    spec, staging, plan = work.spec, work.resources.staging, work.plan
    keys = work.keys_from("features")
    with closing(open_engine(spec.engine, plan.task, work.resources.runtime, work.say)) as engine:
        for piece in predict_slices(plan, engine, work.pool, staging, keys, say=work.say, watch=work.watch):
            work.finished(piece.partition_key, _metadata(work, piece))
    lineage = {name: [name] for name in plan.key} | {output.name: list(plan.features) for output in plan.outputs}
    return {
        "model_sha256": plan.model.sha256,
        "dagster/column_schema": show.column_schema(plan.predictions_schema),
        "dagster/column_lineage": show.column_lineage(asset_key(spec.scoring, "features"), lineage),
    }


PREDICTIONS = Step(
    "predictions",
    describe=lambda spec: f"Predictions of the model, by the engine `{spec.engine.kind}`, in staging.",
    kinds=lambda spec: (spec.engine.kind, "arrow"),
    deps=lambda spec: upstream_keys(spec.scoring, "predictions"),
    work=_work,
    # An engine that scores here asks the pool for a few rows of the log, and then works for long without it.
    holds_pool=lambda spec: spec.engine.runs == "pool",
)


def _metadata(work: Work, piece: PredictedSlice) -> dict[str, Any]:
    shown = {
        **work.counts(piece.rows, piece.seconds),
        "batches": piece.batches,
        "bytes": piece.bytes,
        "engine": work.spec.engine.kind,
        **piece.engine,
        "statistics": show.statistics_table(piece.statistics),
    }
    for name, column in piece.statistics.items():
        picture = show.histogram(name, column)
        if picture is not None:
            shown[f"histogram_{name}"] = picture
    return shown
