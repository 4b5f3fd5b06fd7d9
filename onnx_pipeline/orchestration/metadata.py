"""What a materialization shows: tables, schemas and lineage, as Dagster metadata."""

import html
from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from onnx_pipeline.base.instants import as_python
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.statistics import ColumnStatistics

__all__ = [
    "column_lineage",
    "column_schema",
    "described_features",
    "described_predictions",
    "markdown_table",
    "preview",
    "statistics_table",
]

_TEXT = 60
_EDGES = 5_000
"""Most pairs of columns that a lineage has: some 130 bytes each, in an event that Dagster keeps and loads whole."""


def column_schema(schema: pa.Schema, descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Columns with their Arrow types, and what they are."""
    described = descriptions or {}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=described.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def described_features(plan: ScoringPlan) -> dict[str, str]:
    """What each column of the features is: the key, or what the model reads."""
    read = {
        staged: f"Source column {source}, as the model's {plan.binding.columns[staged]}."
        for staged, source in plan.features.items()
    }
    return _described_key(plan) | read


def described_predictions(plan: ScoringPlan) -> dict[str, str]:
    """What each column of the predictions is: the key, or which output of the model."""
    outputs = {output.name: output for output in plan.model.signature.outputs}
    made = {}
    for column in plan.outputs:
        labels, width = outputs[column.output].labels, outputs[column.output].width
        if column.index is None or width == 1:
            which = ""
        elif labels is not None:
            which = f", class {labels[column.index]}"
        else:
            which = f", column {column.index}"
        made[column.name] = f"Model output {column.output}{which}."
    return _described_key(plan) | made


def _described_key(plan: ScoringPlan) -> dict[str, str]:
    return dict.fromkeys(plan.key, "Key of the row." if len(plan.key) == 1 else "Part of the row's key.")


def column_lineage(asset: dg.AssetKey, sources: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    """Columns, each with the columns of `asset` that it comes from.

    Where that is more than `_EDGES`, those of the columns with the fewest, as far as they go.
    """
    left = _EDGES
    kept = set()
    for column, names in sorted(sources.items(), key=lambda item: len(item[1])):
        left -= len(names)
        if left < 0:
            break
        kept.add(column)
    sources = {column: names for column, names in sources.items() if column in kept}
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(asset_key=asset, column_name=name) for name in names]
            for column, names in sources.items()
        }
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], *, most: int = _TEXT) -> str:
    """A Markdown table; cells are escaped, and cut to `most` characters."""
    lines = ["| " + " | ".join(_cell(name, most) for name in header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value, most) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object, most: int) -> str:
    if isinstance(value, float):
        text = f"{value:,.6g}"
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    else:
        text = "NULL" if value is None else str(value)
    text = text if len(text) <= most else text[: most - 1] + "…"
    return html.escape(text).replace("|", "\\|").replace("\n", " ")


def preview(table: pa.Table) -> dg.MarkdownMetadataValue:
    """A few rows, to look at."""
    columns = [[as_python(cell) for cell in column] for column in table.columns]
    rows = [[str(value) if isinstance(value, int) else value for value in row] for row in zip(*columns, strict=True)]
    return dg.MetadataValue.md(markdown_table(table.column_names, rows))


def statistics_table(statistics: Mapping[str, ColumnStatistics]) -> dg.MarkdownMetadataValue:
    """Count, missing values, mean and range of each output; the most frequent values where it is no number."""
    rows: list[Sequence[object]] = []
    for name, column in statistics.items():
        summary = column.summary()
        if summary.categories is not None:
            shares = zip(summary.categories[:5], summary.shares, strict=False)
            common = ", ".join(f"{value} {share:.1%}" for value, share in shares)
            rows.append((name, summary.count, summary.missing, "", "", "", "", common))
        else:
            rows.append(
                (name, summary.count, summary.missing, *(
                    "" if value is None else value
                    for value in (summary.mean, summary.deviation, summary.minimum, summary.maximum)
                ), "")
            )  # fmt: skip
    header = ("output", "rows", "missing", "mean", "deviation", "minimum", "maximum", "most frequent")
    return dg.MetadataValue.md(markdown_table(header, rows))
