"""`onnx-pipeline status` and `onnx-pipeline preview`."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from rich import box
from rich.table import Table

from onnx_pipeline.base.errors import OnnxPipelineError, PartitionError
from onnx_pipeline.base.instants import as_python
from onnx_pipeline.cli.outside import notes_of, print_notes
from onnx_pipeline.cli.terminal import terminal
from onnx_pipeline.engines import open_stream
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.project import find_scoring, scorings
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.fitted import fitted
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.names import CHANGED, MARKER
from onnx_pipeline.scoring.places import about_target
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.statistics import summaries_from_json
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["show_preview", "show_status"]


def show_status(names: Sequence[str]) -> None:
    """Print one line per scoring: what the pool holds of it."""
    specs = [find_scoring(name) for name in names] if names else scorings()
    pool = open_pool(pool_url())
    lines = [_status(spec, pool) for spec in specs]
    means = ", ".join(f"{line.column} of {line.scoring}" for line in lines if line.column is not None)
    table = Table(
        title=f"Predictions in {pool.display_name}", box=box.SIMPLE_HEAD, caption=f"mean: {means}" if means else None
    )
    for heading in ("scoring", "partitions", "rows", "rows/s", "mean", "model sha256"):
        table.add_column(heading, justify="left" if heading in ("scoring", "model sha256") else "right")
    for line in lines:
        table.add_row(*line.cells)
    console = terminal()
    console.print(table)
    for line in lines:
        for note in line.notes:
            console.print(note, soft_wrap=True, highlight=False)
    for spec in specs:
        print_notes(_notes(spec, pool))


def _notes(spec: ScoringSpec, pool: Pool) -> list[str]:
    """What has no partition; what stands in the pool is shown also where the source is gone."""
    partitions = partitioning(spec)
    try:
        return notes_of(spec, partitions, take_inventory(spec, pool, partitions))
    except OnnxPipelineError as error:
        return [f"{spec.scoring}: the rows without a partition cannot be counted. {type(error).__name__}: {error}"]


@dataclass(frozen=True)
class _Status:
    """What the pool holds of one scoring."""

    scoring: str
    column: str | None
    """The output whose mean is shown."""
    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What else there is to say, of a target that is missing or new."""


def _status(spec: ScoringSpec, pool: Pool) -> _Status:
    scored = pool.scored(spec.scoring, spec.target_table)
    notes = tuple(f"{spec.scoring}: {text}." for text in about_target(scored))
    if not scored.target.exists or not scored.rows:
        said = "target missing" if scored.rows else "never scored"
        return _Status(spec.scoring, None, (spec.scoring, "0", "0", "", "", said), notes)
    entries = list(scored.rows.values())
    seconds = sum(entry.seconds for entry in entries)
    summaries = summaries_from_json(max(entries, key=lambda entry: entry.rows).statistics)
    # A table that was altered after `outputs` changed may lack what the log still tells of.
    standing = frozenset(pool.preview(spec.target_table, {}, 0).column_names)
    # A classifier's label is an output too, but a mean says more of its probabilities, which come last.
    numeric = [name for name, summary in summaries.items() if summary.mean is not None and name in standing]
    shown = numeric[-1] if numeric else None
    rows, mean = _counted(spec, pool, shown)
    cells = (
        spec.scoring,
        f"{sum(1 for entry in entries if entry.rows):,}",
        f"{rows:,}",
        f"{sum(entry.rows for entry in entries) / seconds:,.0f}" if seconds else "",
        "" if mean is None else f"{mean:.4f}",
        ", ".join(sorted({entry.model_sha256[:12] for entry in entries})),
    )
    return _Status(spec.scoring, shown if mean is not None else None, cells, notes)


def _counted(spec: ScoringSpec, pool: Pool, column: str | None) -> tuple[int, float | None]:
    """Rows and mean as they stand in the target, not as the log says."""
    schema, name = split_name(spec.target_table)
    columns: list[sa.ColumnClause[Any]] = [sa.column(column)] if column is not None else []
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
    options = RuntimeOptions()
    model = model_origin(spec).load(options, ArtifactStoreResource().open())
    plan = ScoringPlan(spec, model, pool.source(spec))
    keys = [partition_key] if partition_key is not None else list(plan.partitioning.keys())
    plan.partitioning.check(keys)
    if not keys:
        raise PartitionError(f"{name} has no partition yet: see `start` and `end_offset` of its `partitions`")
    # Partitions that come one after the other are read as one range.
    chunk = [keys[0], keys[-1]] if plan.partitioning.ordered else keys
    statement = plan.statement(pool, chunk, marked=False).limit(rows)
    features = pool.fetch(statement).combine_chunks()
    features = features.drop_columns([column for column in (CHANGED, MARKER) if column in features.column_names])
    found = features.to_batches()
    batch = fitted(plan, found[0]) if found else pa.RecordBatch.from_pylist([], schema=plan.features_schema)
    counts = {column: batch.column(column).null_count for column in plan.binding.columns}
    plan.model.check_nulls(plan.binding, counts, plan.nulls, plan.outputs)
    with closing(open_stream(spec.engine, plan.task, options)) as engine:
        parts = [arrays for _, arrays in engine.score([batch])]
    _print(plan, batch, [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)])


def _print(plan: ScoringPlan, batch: pa.RecordBatch, outputs: list[pa.Array]) -> None:
    """Rows as columns: a model reads many features, and a terminal is narrow."""
    width = len(plan.key)
    console = terminal()
    per_page = max(1, (console.width - 36) // 16)
    predictions = list(zip((output.name for output in plan.outputs), outputs, strict=True))
    keys = list(zip(batch.schema.names[:width], batch.columns[:width], strict=True))
    features = list(zip(batch.schema.names[width:], batch.columns[width:], strict=True))
    for start in range(0, max(1, batch.num_rows), per_page):
        table = Table("", box=box.SIMPLE)
        table.add_column("column", no_wrap=True)
        shown = range(start, min(start + per_page, batch.num_rows))
        for index in shown:
            table.add_column(str(index + 1), justify="right", overflow="fold")
        for kind, columns in (("key", keys), ("feature", features), ("prediction", predictions)):
            for column_name, column in columns:
                table.add_row(kind, column_name, *(_text(as_python(column[index])) for index in shown))
            table.add_section()
        console.print(table)
    console.print(f"{batch.num_rows} rows of {plan.source.description}; nothing was written.")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "NULL" if value is None else str(value)
