"""What a materialization shows: tables, pictures, schemas and lineage, as Dagster metadata."""

import base64
import html
from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from onnx_pipeline.base.instants import as_python
from onnx_pipeline.scoring.statistics import ColumnStatistics

__all__ = ["column_lineage", "column_schema", "histogram", "markdown_table", "preview", "statistics_table"]

_TEXT = 60


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


_EDGES = 5_000
"""Most pairs of columns that a lineage has: some 130 bytes each, in an event that Dagster keeps and loads whole."""


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


def histogram(name: str, column: ColumnStatistics) -> dg.MarkdownMetadataValue | None:
    """A picture of a numeric output's distribution; None for one without numbers.

    Drawn as SVG here: importing a plotting library would cost every run more than the picture is worth.
    """
    found = column.histogram()
    if found is None:
        return None
    edges, counts = found
    picture = base64.b64encode(_svg(edges, counts).encode()).decode()
    return dg.MetadataValue.md(f"![histogram of {name.replace(']', '')}](data:image/svg+xml;base64,{picture})")


def _svg(edges: Sequence[float], counts: Sequence[int]) -> str:
    width, height, base, left = 520, 170, 135, 10
    tallest = max(counts)
    step = (width - 2 * left) / len(counts)
    bars = []
    for index, count in enumerate(counts):
        tall = (base - 20) * count / tallest
        bars.append(
            f'<rect x="{left + index * step + 1:.1f}" y="{base - tall:.1f}" width="{max(1.0, step - 2):.1f}" '
            f'height="{tall:.1f}" fill="#4f43dd"/>'
        )
    ticks = []
    for place, anchor in ((0, "start"), (len(edges) // 2, "middle"), (len(edges) - 1, "end")):
        x = left + (width - 2 * left) * place / (len(edges) - 1)
        ticks.append(f'<text x="{x:.0f}" y="{base + 18}" text-anchor="{anchor}">{edges[place]:.4g}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<g font-family="sans-serif" font-size="12" fill="#444444">'
        f'<text x="{width - left}" y="14" text-anchor="end">tallest bar: {tallest:,} rows</text>'
        f'{"".join(bars)}<line x1="{left}" y1="{base}" x2="{width - left}" y2="{base}" stroke="#444444"/>'
        f"{''.join(ticks)}</g></svg>"
    )
