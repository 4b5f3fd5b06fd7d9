"""`onnx-pipeline preview`."""

from contextlib import closing

import pyarrow as pa
from rich import box
from rich.table import Table

from onnx_pipeline.base.errors import PartitionError
from onnx_pipeline.base.instants import as_python
from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.engines import open_stream
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.pools import open_pool
from onnx_pipeline.project import find_scoring
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.fitted import fitted
from onnx_pipeline.scoring.names import CHANGED, MARKER
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["show_preview"]


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
        console.print(uncut(table))
    console.print(f"{batch.num_rows} rows of {plan.source.description}; nothing was written.")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "NULL" if value is None else str(value)
