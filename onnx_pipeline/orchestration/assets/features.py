"""The asset `features`: the slice selected in the pool, cast to the model's types, and staged."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.step import Step, Work
from onnx_pipeline.orchestration.figures import feature_figures, size
from onnx_pipeline.orchestration.names import SOURCE_METADATA, source_key, upstream_keys
from onnx_pipeline.orchestration.resources import pool_kind
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.slices import feature_slices
from onnx_pipeline.scoring.verdicts import rows_outside
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["FEATURES"]


def _work(work: Work) -> Mapping[str, Any]:
    spec, pool, staging, keys = work.spec, work.pool, work.resources.staging, work.keys
    staging.sweep()
    plan = work.plan
    for note in plan.partitioning.notes:
        work.say(f"{spec.scoring}: {note}")
    for piece in feature_slices(plan, pool, staging, keys, say=work.say, watch=work.watch):
        work.finished(
            piece.partition_key,
            {
                **work.counts(piece.rows, piece.seconds),
                **feature_figures(piece.null_counts, piece.rows),
                "size": size(piece.bytes),
                "null_rates": dg.MetadataValue.md(_null_rates(piece.null_counts, piece.rows)),
            },
        )
        if not piece.rows:
            work.say(f"{spec.scoring}: partition {piece.partition_key!r} has no rows")
    inventory = take_inventory(spec, pool, plan.partitioning, plan.source)
    work.watch.show(rows_outside(inventory))
    if inventory.outside:
        work.warn(f"{spec.scoring}: {inventory.why_outside()}")
    first = next(plan.partitioning.chunks(keys))
    statement = pool.render(plan.statement(pool, first, marked=len(first) > 1))
    sources = {name: [name] for name in plan.key} | {name: [source] for name, source in plan.features.items()}
    return {
        "sql": dg.MetadataValue.md(f"```sql\n{statement}\n```"),
        "dagster/column_schema": show.column_schema(plan.features_schema, show.described_features(plan)),
        "dagster/column_lineage": show.column_lineage(source_key(spec), sources),
    }


def _staged(spec: ScoringSpec) -> bool:
    """Whether rows move: an engine of the pool or of a cluster gets them where they lie."""
    return spec.engine.runs == "here"


FEATURES = Step(
    "features",
    describe=lambda spec: (
        f"Key columns of `{spec.source_spec.table or 'the query'}` and the columns that the model reads, in the "
        f"model's dtypes{'' if _staged(spec) else f', as the SELECT that the engine `{spec.engine.kind}` reads by'}."
    ),
    kinds=lambda spec: (pool_kind(), "arrow") if _staged(spec) else (pool_kind(),),
    # The model decides which columns are read, and as what.
    deps=lambda spec: (source_key(spec), *upstream_keys(spec.scoring, "features")),
    work=_work,
    metadata=lambda spec: {SOURCE_METADATA: spec.source_spec.table or "query"},
)


def _null_rates(counts: Mapping[str, int], rows: int) -> str:
    present = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1])
    if not present:
        return "no NULLs"
    return show.markdown_table(("feature", "NULL", "rate"), [(name, n, f"{n / rows:.2%}") for name, n in present])
