"""`onnx-pipeline status`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from rich import box
from rich.table import Table

from onnx_pipeline.cli.chosen import chosen
from onnx_pipeline.cli.failures import Failures
from onnx_pipeline.cli.outside import notes_of, print_notes
from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.places import about_target
from onnx_pipeline.scoring.statistics import summaries_from_json
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["print_status", "show_status"]


def show_status(names: Sequence[str]) -> None:
    """Print one line per scoring: what the pool holds of it. One that fails is named at the end and hides no other."""
    asked = chosen(names)
    pool = open_pool(pool_url())
    failures = Failures(pool, asked.broken)
    print_status(asked.whole, pool, failures)
    failures.end()


def print_status(specs: Sequence[ScoringSpec], pool: Pool, failures: Failures) -> None:
    """The table of `specs`; what fails goes to `failures`."""
    lines = []
    for spec in specs:
        with failures.of(spec.scoring):
            lines.append(_status(spec, pool))
    means = ", ".join(f"{line.column} of {line.scoring}" for line in lines if line.column is not None)
    table = Table(
        title=f"Predictions in {pool.display_name}", box=box.SIMPLE_HEAD, caption=f"mean: {means}" if means else None
    )
    for heading in ("scoring", "partitions", "rows", "rows/s", "mean", "model sha256"):
        table.add_column(heading, justify="left" if heading in ("scoring", "model sha256") else "right")
    for line in lines:
        table.add_row(*line.cells)
    console = terminal()
    console.print(uncut(table))
    for line in lines:
        for note in line.notes:
            console.print(note, soft_wrap=True, highlight=False)
    for spec in specs:
        with failures.of(spec.scoring):
            print_notes(_notes(spec, pool))


def _notes(spec: ScoringSpec, pool: Pool) -> list[str]:
    """What has no partition. What stands in the pool is shown before, also where the source is gone."""
    partitions = partitioning(spec)
    return notes_of(spec, partitions, take_inventory(spec, pool, partitions))


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
