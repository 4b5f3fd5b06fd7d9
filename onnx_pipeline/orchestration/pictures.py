"""Histograms as pictures in a materialization.

Drawn as SVG here: importing a plotting library would cost every run more than the picture is worth.
"""

import base64
import html
import math
from collections.abc import Sequence

import dagster as dg

from onnx_pipeline.scoring.statistics import ColumnStatistics

__all__ = ["histogram"]

_WIDTH, _HEIGHT = 520, 220
_LEFT, _RIGHT, _TOP, _BASE = 76, 504, 14, 170
"""The plot's edges; the labels of both axes lie outside of them."""
_TICKS = 5
"""About as many ticks as an axis gets."""


def histogram(name: str, column: ColumnStatistics) -> dg.MarkdownMetadataValue | None:
    """A picture of a numeric output's distribution: rows by value; None for one without numbers."""
    found = column.histogram()
    if found is None:
        return None
    edges, counts = found
    picture = base64.b64encode(_svg(name, edges, counts).encode()).decode()
    return dg.MetadataValue.md(f"![histogram of {name.replace(']', '')}](data:image/svg+xml;base64,{picture})")


def _svg(name: str, edges: Sequence[float], counts: Sequence[int]) -> str:
    low, high = edges[0], edges[-1]
    top = max(counts)
    rows = _round_values(0, top, whole=True)

    def across(value: float) -> float:
        # By halves: the distance of two doubles may be beyond every double.
        share = (value / 4 - low / 4) / (high / 4 - low / 4) if high / 4 > low / 4 else 0.5
        return _LEFT + (_RIGHT - _LEFT) * share

    def up(count: float) -> float:
        return _BASE - (_BASE - _TOP) * count / top

    step = (_RIGHT - _LEFT) / len(counts)
    grid = [
        f'<line x1="{_LEFT}" y1="{up(count):.1f}" x2="{_RIGHT}" y2="{up(count):.1f}" stroke="#dddddd"/>'
        f'<text x="{_LEFT - 6}" y="{up(count) + 4:.1f}" text-anchor="end">{count:,.0f}</text>'
        for count in rows
    ]
    bars = [
        f'<rect x="{_LEFT + index * step + 1:.1f}" y="{up(count):.1f}" width="{max(1.0, step - 2):.1f}" '
        f'height="{_BASE - up(count):.1f}" fill="#4f43dd"/>'
        for index, count in enumerate(counts)
    ]
    ticks = [
        f'<line x1="{across(value):.1f}" y1="{_BASE}" x2="{across(value):.1f}" y2="{_BASE + 5}" stroke="#444444"/>'
        f'<text x="{across(value):.1f}" y="{_BASE + 19}" text-anchor="middle">{_written(value)}</text>'
        for value in (_round_values(low, high) if high > low else [low])
    ]
    middle = (_TOP + _BASE) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><rect width="100%" height="100%" fill="#ffffff"/>'
        f'<g font-family="sans-serif" font-size="12" fill="#444444">{"".join(grid)}{"".join(bars)}'
        f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{_BASE}" stroke="#444444"/>'
        f'<line x1="{_LEFT}" y1="{_BASE}" x2="{_RIGHT}" y2="{_BASE}" stroke="#444444"/>{"".join(ticks)}'
        f'<text x="{(_LEFT + _RIGHT) / 2:.0f}" y="{_HEIGHT - 10}" text-anchor="middle">{html.escape(name)}</text>'
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">rows</text>'
        "</g></svg>"
    )


def _round_values(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within `low` and `high`, about `_TICKS` of them.

    The ends themselves where these are too close, or too small, for that.
    """
    span = high / _TICKS - low / _TICKS
    if span <= max(abs(low), abs(high)) * 1e-12:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(span))
    step = next((times * power for times in (1, 2, 5, 10) if times * power >= span), span)
    if whole:
        step = max(1.0, step)
    if not power:
        return [low, high]
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [count * step for count in range(first, last + 1)] or [low, high]


def _written(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and 1000 <= abs(value) < 1_000_000 else f"{value:.6g}"
