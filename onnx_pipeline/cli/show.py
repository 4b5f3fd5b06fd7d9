"""`onnx-pipeline status` and `onnx-pipeline preview`."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from onnx_pipeline.errors import ModelError
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.project import find_scoring, scorings
from onnx_pipeline.resources import pool_url
from onnx_pipeline.scoring.artifact import model_uri
from onnx_pipeline.scoring.plan import CHANGED, MARKER, ScoringPlan
from onnx_pipeline.scoring.statistics import summaries_from_json
from onnx_pipeline.spec import ScoringSpec

__all__ = ["show_preview", "show_status"]


def show_status(names: Sequence[str]) -> None:
    """Print one line per scoring: what the pool holds of it."""
    specs = [find_scoring(name) for name in names] if names else scorings()
    pool = open_pool(pool_url())
    table = Table(title=f"Predictions in {pool.display_name}")
    for heading in ("scoring", "table", "partitions", "rows", "rows/s", "mean prediction", "model"):
        table.add_column(heading, justify="left" if heading in ("scoring", "table", "model") else "right")
    for spec in specs:
        table.add_row(*_status(spec, pool))
    Console().print(table)


def _status(spec: ScoringSpec, pool: Pool) -> tuple[str, ...]:
    log = pool.scoring_log(spec.scoring)
    if not log:
        return (spec.scoring, spec.target_table, "0", "0", "", "", "never scored")
    entries = list(log.values())
    seconds = sum(entry.seconds for entry in entries)
    summaries = summaries_from_json(max(entries, key=lambda entry: entry.rows).statistics)
    # A classifier's label is an output too, but a mean says more of its probabilities.
    numeric = [name for name, summary in summaries.items() if summary.mean is not None]
    shown = numeric[-1] if numeric else None
    rows, mean = _counted(spec, pool, shown)
    models = sorted({entry.model_sha256[:12] for entry in entries})
    return (
        spec.scoring,
        spec.target_table,
        f"{sum(1 for entry in entries if entry.rows):,}",
        f"{rows:,}",
        f"{sum(entry.rows for entry in entries) / seconds:,.0f}" if seconds else "",
        "" if mean is None else f"{shown} {mean:.4f}",
        ", ".join(models),
    )


def _counted(spec: ScoringSpec, pool: Pool, column: str | None) -> tuple[int, float | None]:
    """Rows and mean as they stand in the target, not as the log says."""
    schema, name = split_name(spec.target_table)
    columns = [sa.column(column)] if column is not None else []
    target = sa.table(name, *columns, schema=schema)
    measures: list[sa.ColumnElement[Any]] = [sa.func.count().label("rows")]
    if column is not None:
        measures.append(sa.func.avg(sa.cast(target.c[column], sa.Double)).label("mean"))
    (row,) = pool.fetch(sa.select(*measures).select_from(target)).to_pylist()
    return row["rows"], row.get("mean")


def show_preview(name: str, *, rows: int, partition_key: str | None) -> None:
    """Score the first rows that the pool hands out, and print them with what was predicted."""
    spec = find_scoring(name)
    pool = open_pool(pool_url())
    plan = ScoringPlan(spec, OnnxModel.load(model_uri(spec)), pool.source(spec))
    keys = [partition_key] if partition_key is not None else list(plan.partitioning.keys())
    plan.partitioning.check(keys)
    if not keys:
        raise ModelError(f"{name} has no partition yet")
    chunk = keys if partition_key is not None else [keys[0], keys[-1]]
    statement = plan.statement(pool, chunk, marked=False).limit(rows)
    features = pool.fetch(statement).combine_chunks()
    features = features.drop_columns([column for column in (CHANGED, MARKER) if column in features.column_names])
    (batch,) = features.cast(plan.features_schema).to_batches() or [
        pa.RecordBatch.from_pylist([], schema=plan.features_schema)
    ]
    counts = {column: batch.column(column).null_count for column in plan.binding.columns}
    plan.model.check_nulls(plan.binding, counts, plan.nulls)
    outputs = plan.model.scorer(plan.binding, plan.outputs, nulls=plan.nulls)(batch)
    _print(plan, batch, outputs)


def _print(plan: ScoringPlan, batch: pa.RecordBatch, outputs: list[pa.Array]) -> None:
    """Rows as columns: a model reads many features, and a terminal is narrow."""
    width = len(plan.key)
    console = Console()
    per_page = max(1, (console.width - 32) // 14)
    predictions = list(zip((output.name for output in plan.outputs), outputs, strict=True))
    keys = list(zip(batch.schema.names[:width], batch.columns[:width], strict=True))
    features = list(zip(batch.schema.names[width:], batch.columns[width:], strict=True))
    for start in range(0, max(1, batch.num_rows), per_page):
        table = Table("", "column")
        shown = range(start, min(start + per_page, batch.num_rows))
        for index in shown:
            table.add_column(str(index + 1), justify="right", overflow="fold")
        for kind, columns in (("key", keys), ("feature", features), ("prediction", predictions)):
            for column_name, column in columns:
                table.add_row(kind, column_name, *(_text(column[index].as_py()) for index in shown))
            table.add_section()
        console.print(table)
    console.print(f"{batch.num_rows} rows of {plan.source.description}; nothing was written.")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "NULL" if value is None else str(value)
