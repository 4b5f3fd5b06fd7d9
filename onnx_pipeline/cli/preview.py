"""`onnx-pipeline preview`."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import pyarrow as pa
import sqlalchemy as sa
from rich import box
from rich.table import Table

from onnx_pipeline.base.errors import DataError, FeatureValueError, OnnxPipelineError, PartitionError, SpecError
from onnx_pipeline.base.instants import as_python
from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.engines import open_stream
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.orchestration.resources import ArtifactStoreResource, pool_url
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.project import find_scoring
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.fitted import fitted
from onnx_pipeline.scoring.names import CHANGED, MARKER
from onnx_pipeline.scoring.offending import refused_row, value_refused
from onnx_pipeline.scoring.plan import ScoringPlan

__all__ = ["show_preview"]


def show_preview(
    name: str, *, rows: int, partition_key: str | None, where: Sequence[str] = (), nan: Sequence[str] = ()
) -> None:
    """Score the first rows that the pool hands out, and print them with what was predicted.

    `where` (`column=value`) and `nan` (a column) choose rows. Those that are refused are printed, too, and then told.
    """
    spec = find_scoring(name)
    pool = open_pool(pool_url())
    model = model_origin(spec).load(RuntimeOptions(), ArtifactStoreResource().open())
    plan = ScoringPlan(spec, model, pool.source(spec))
    keys = [partition_key] if partition_key is not None else list(plan.partitioning.keys())
    plan.partitioning.check(keys)
    if not keys:
        raise PartitionError(f"{name} has no partition yet: see `start` and `end_offset` of its `partitions`")
    # Partitions that come one after the other are read as one range.
    chunk = [keys[0], keys[-1]] if plan.partitioning.ordered else keys
    statement = plan.statement(pool, chunk, marked=False).where(*_conditions(plan, pool, where, nan)).limit(rows)
    features = pool.fetch(statement).combine_chunks()
    features = features.drop_columns([column for column in (CHANGED, MARKER) if column in features.column_names])
    batches = features.to_batches()
    found = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=features.schema)
    try:
        batch, outputs = _scored(plan, found, partition_key)
    except OnnxPipelineError:
        _print(plan, found, [])
        raise
    _print(plan, batch, outputs)


def _conditions(
    plan: ScoringPlan, pool: Pool, where: Sequence[str], nan: Sequence[str]
) -> Iterator[sa.ColumnElement[bool]]:
    source = plan.source
    for text in where:
        column, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"--where {text!r} must be COLUMN=VALUE, e.g. --where ward=north; --nan COLUMN finds NULL")
        name = source.name(column.strip(), role="--where")
        arrow = source.schema.field(name).type
        try:
            wanted = as_python(pa.scalar(value).cast(arrow.value_type if pa.types.is_dictionary(arrow) else arrow))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SpecError(f"--where {text!r}: column {name!r} is {arrow}, and {value!r} is none") from error
        yield source.column(name) == wanted
    for column in nan:
        name = source.name(column, role="--nan")
        yield pool.is_missing(source.column(name), source.schema.field(name).type)


def _scored(
    plan: ScoringPlan, found: pa.RecordBatch, partition_key: str | None
) -> tuple[pa.RecordBatch, list[pa.Array]]:
    """Features in the model's dtypes, and what was predicted from them."""
    try:
        batch = fitted(plan, found)
    except FeatureValueError as error:
        raise value_refused(plan, partition_key, found, error) from error
    try:
        counts = {column: batch.column(column).null_count for column in plan.binding.columns}
        plan.model.check_nulls(plan.binding, counts, plan.nulls, plan.outputs)
        with closing(open_stream(plan.spec.engine, plan.task, RuntimeOptions())) as engine:
            parts = [arrays for _, arrays in engine.score([batch])]
    except DataError as error:
        raise refused_row(plan, partition_key, error, lambda: [batch]) from error
    return batch, [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)]


def _print(plan: ScoringPlan, batch: pa.RecordBatch, outputs: list[pa.Array]) -> None:
    """Rows as columns: a model reads many features, and a terminal is narrow."""
    width = len(plan.key)
    console = terminal()
    per_page = max(1, (console.width - 36) // 16)
    # None where the rows were refused.
    predictions = list(zip((output.name for output in plan.outputs), outputs, strict=False))
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
