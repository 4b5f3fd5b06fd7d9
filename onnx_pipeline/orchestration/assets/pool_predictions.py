"""The asset `pool_predictions`: each slice in the target, in one transaction with its row of the scoring log."""

from collections.abc import Mapping
from typing import Any

from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.step import Step, Work
from onnx_pipeline.orchestration.figures import labels_of, prediction_figures
from onnx_pipeline.orchestration.names import asset_key, upstream_keys
from onnx_pipeline.orchestration.resources import pool_kind
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.statistics import summaries_from_json

__all__ = ["POOL_PREDICTIONS"]

_PREVIEW_ROWS = 5
_PROVENANCE = {
    "partition_key": "The partition that the row belongs to.",
    "model_sha256": "The model that made the prediction.",
    "scored_at": "When, in UTC.",
    "run_id": "The Dagster run.",
}


def _work(work: Work) -> Mapping[str, Any]:
    spec, plan, pool = work.spec, work.plan, work.pool
    keys = work.keys_from("predictions")
    run_id, resumed = work.context.run.run_id, work.context.retry_number > 0
    loading = load(
        plan, pool, work.resources.staging, keys, run_id=run_id, watch=work.watch, resumed=resumed, say=work.say
    )
    for piece in loading:
        loaded = piece.loaded
        work.finished(
            loaded.partition_key,
            {
                **work.counts(piece.log.rows, loaded.seconds),
                **prediction_figures(summaries_from_json(piece.log.statistics), labels_of(plan.model.signature)),
                "rows_inserted": loaded.inserted,
                "rows_updated": loaded.updated,
                "rows_replaced": loaded.deleted,
                "model_sha256": piece.log.model_sha256,
            },
        )
    if work.done:
        # Of a long range the last one only: each look costs a connection.
        last = list(work.done)[-1]
        rows = pool.preview(spec.target_table, {"partition_key": last}, _PREVIEW_ROWS)
        work.finished(last, {**work.done[last], "preview": show.preview(rows)})
    lineage = {name: [name] for name in plan.target.staged_names}
    return {
        "dagster/column_schema": show.column_schema(plan.target.schema, show.described_predictions(plan) | _PROVENANCE),
        "dagster/column_lineage": show.column_lineage(asset_key(spec.scoring, "predictions"), lineage),
    }


POOL_PREDICTIONS = Step(
    "pool_predictions",
    describe=lambda spec: (
        f"Table `{spec.target_table}` of the pool: predictions with their provenance, loaded by `{spec.load_mode}` in "
        "one transaction with the scoring log."
    ),
    kinds=lambda _: (pool_kind(), "table"),
    deps=lambda spec: upstream_keys(spec.scoring, "pool_predictions"),
    work=_work,
    metadata=lambda spec: {"dagster/table_name": spec.target_table},
)
