"""The asset `predictions`: the engine run over the staged features."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from onnx_pipeline.engines import open_engine
from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.step import Step, Work
from onnx_pipeline.orchestration.figures import engine_figures, labels_of, prediction_figures, shift_figures, size
from onnx_pipeline.orchestration.names import asset_key, upstream_keys
from onnx_pipeline.orchestration.pictures import histogram
from onnx_pipeline.orchestration.resources import pool_kind
from onnx_pipeline.scoring.predict import PredictedSlice
from onnx_pipeline.scoring.slices import predict_slices
from onnx_pipeline.scoring.verdicts import DISTRIBUTION

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
        "dagster/column_schema": show.column_schema(plan.predictions_schema, show.described_predictions(plan)),
        "dagster/column_lineage": show.column_lineage(asset_key(spec.scoring, "features"), lineage),
    }


PREDICTIONS = Step(
    "predictions",
    describe=lambda spec: (
        f"Predictions of the model, by the engine `{spec.engine.kind}`, "
        + ("in staging." if spec.engine.runs == "here" else "landed beside the target, with DuckDB in staging.")
    ),
    kinds=lambda spec: (spec.engine.kind, "arrow" if spec.engine.runs == "here" else pool_kind()),
    deps=lambda spec: upstream_keys(spec.scoring, "predictions"),
    work=_work,
    # An engine that scores here asks the pool for a few rows of the log, and then works for long without it.
    holds_pool=lambda spec: spec.engine.runs == "pool",
)


def _metadata(work: Work, piece: PredictedSlice) -> dict[str, Any]:
    shown = {
        **work.counts(piece.rows, piece.seconds),
        **prediction_figures(
            {name: column.summary() for name, column in piece.statistics.items()}, labels_of(work.plan.model.signature)
        ),
        **shift_figures(_shift(work, piece.partition_key)),
        "size": size(piece.bytes, piece.batches),
        "engine": work.spec.engine.kind,
        **engine_figures(piece.engine),
        "statistics": show.statistics_table(piece.statistics),
    }
    for name, column in piece.statistics.items():
        picture = histogram(name, column)
        if picture is not None:
            shown[f"histogram_{name}"] = picture
    return shown


def _shift(work: Work, partition_key: str) -> Mapping[str, float]:
    """What the check of distribution found, by output: it was shown right before the partition was done."""
    for verdict in reversed(work.verdicts):
        if verdict.check == DISTRIBUTION and verdict.partition_key == partition_key:
            return verdict.figures
    return {}
