"""What predictions look like, in one pass and constant memory.

A number's bin is the upper half of its float32 bit pattern: 65,536 bins over the whole range, each at most 0.8 % wide,
with no range to know beforehand and one shift and one count per value.
"""

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.arrow import to_numpy
from onnx_pipeline.scoring.bins import Bin

__all__ = ["ColumnStatistics", "Summary", "population_stability_index", "summaries_from_json", "summaries_to_json"]

_BINS = 1 << 16
_BLOCK = 8192
"""Values at a time: what is computed of them fits into the cache, and into memory that malloc has at hand.

Of a whole batch it is the system's, given page by page and taken back each time, while other threads wait for theirs:
beside a scoring that took six times as long.
"""
_REFERENCE_BINS = 10
_CATEGORIES = 50
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST_SHARE = 1e-4
"""An empty bin counts as this share, as is usual for the index: the logarithm of zero has no value."""


@dataclass(frozen=True)
class Summary:
    """One output column of one slice, small enough for the scoring log."""

    count: int
    missing: int
    """NULL, NaN and infinite values."""
    mean: float | None
    deviation: float | None
    minimum: float | None
    maximum: float | None
    edges: tuple[float, ...]
    """Inner edges of the reference bins, ascending; bin i holds `edges[i-1] <= value < edges[i]`."""
    shares: tuple[float, ...]
    """Share of the values in each of the `len(edges) + 1` bins; of each category where those are given."""
    categories: tuple[str, ...] | None = None
    """The most frequent values of a string or boolean output, most frequent first."""


class ColumnStatistics:
    """Statistics of one output column, built batch by batch."""

    def __init__(self) -> None:
        self._count = 0
        self._missing = 0
        self._sum = 0.0
        self._squares = 0.0
        self._shift: float | None = None
        self._minimum = math.inf
        self._maximum = -math.inf
        self._bins: npt.NDArray[np.int64] | None = None
        self._values: Counter[str] | None = None

    @classmethod
    def of_bins(cls, count: int, missing: int, bins: Iterable[Bin]) -> "ColumnStatistics":
        """Statistics of numbers that a pool counted: `count` values, of which `missing` are none."""
        made = cls()
        made._count, made._missing = count, missing
        made._bins = np.zeros(_BINS, dtype=np.int64)
        counted = sorted(bins, key=lambda each: -each.count)
        if counted:
            made._shift = _edge(counted[0].code)
        for each in counted:
            assert made._shift is not None
            made._bins[each.code] += each.count
            made._minimum = min(made._minimum, each.minimum)
            made._maximum = max(made._maximum, each.maximum)
            # From sums about the bin's edge to sums about the most frequent bin's.
            moved = _edge(each.code) - made._shift
            made._sum += each.total + each.count * moved
            made._squares += each.squares + moved * (2 * each.total + each.count * moved)
            if each.huge:
                made._squares = math.inf
        return made

    @classmethod
    def of_values(cls, count: int, missing: int, values: Mapping[str, int]) -> "ColumnStatistics":
        """Statistics of texts or labels that a pool counted: how often there is each."""
        made = cls()
        made._count, made._missing, made._values = count, missing, Counter(values)
        return made

    @property
    def missing(self) -> int:
        return self._missing

    def update(self, column: pa.Array) -> None:
        """Take in `[N]` values of any dtype that a model can return."""
        self._count += len(column)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            self._update_numbers(column)
        else:
            self._update_categories(column)

    def _update_numbers(self, column: pa.Array) -> None:
        numbers = column.drop_null() if column.null_count else column
        values = to_numpy(numbers)
        low, high = _ends(values)
        if values.dtype.kind == "f" and not (math.isfinite(low) and math.isfinite(high)):
            values = values[np.isfinite(values)]
            low, high = _ends(values)
        self._missing += len(column) - len(values)
        if self._bins is None:
            self._bins = np.zeros(_BINS, dtype=np.int64)
        if not len(values):
            return
        if self._shift is None:
            # Sums about a typical value keep their digits where the mean is far from zero.
            self._shift = float(values[0])
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK]
            # A square, or a distance, may be beyond every double: then there is no deviation to tell.
            with np.errstate(over="ignore", invalid="ignore"):
                distances = block.astype(np.float64)
                distances -= self._shift
                self._sum += float(distances.sum())
                self._squares += float(np.dot(distances, distances))
            np.add.at(self._bins, _codes(block), 1)

    def _update_categories(self, column: pa.Array) -> None:
        if self._values is None:
            self._values = Counter()
        for pair in pc.value_counts(column.cast(pa.string())).to_pylist():
            if pair["values"] is None:
                self._missing += pair["counts"]
            else:
                self._values[pair["values"]] += pair["counts"]

    def summary(self) -> Summary:
        if self._values is not None:
            # Of equally frequent ones the first by name, whatever order rows came in.
            common = heapq.nsmallest(_CATEGORIES, self._values.items(), key=lambda pair: (-pair[1], pair[0]))
            total = max(1, sum(self._values.values()))
            return Summary(
                self._count, self._missing, None, None, None, None, (),
                tuple(count / total for _, count in common), tuple(value for value, _ in common),
            )  # fmt: skip
        present = self._count - self._missing
        if self._bins is None or not present or self._shift is None:
            return Summary(self._count, self._missing, None, None, None, None, (), ())
        mean = self._sum / present
        variance = max(0.0, self._squares / present - mean * mean)
        edges, shares = self._reference_bins(present)
        return Summary(
            count=self._count,
            missing=self._missing,
            mean=self._shift + mean if math.isfinite(mean) else None,
            deviation=math.sqrt(variance) if math.isfinite(self._squares) else None,
            minimum=self._minimum,
            maximum=self._maximum,
            edges=edges,
            shares=shares,
        )

    def _reference_bins(self, present: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """At most ten bins of about equal counts, whose edges are edges of our own bins."""
        assert self._bins is not None
        used = np.flatnonzero(self._bins)
        if len(used) == 1:
            # A constant: with empty bins on both sides, so that one that moves is seen to move.
            sides = _lower_edges(np.array([used[0], used[0] + 1]))
            finite = [float(edge) for edge in sides if np.isfinite(edge)]
            return tuple(finite), (0.0, 1.0, 0.0)[: len(finite) + 1]
        before = np.concatenate([[0], np.cumsum(self._bins[used])])
        wanted = present * np.arange(1, _REFERENCE_BINS) / _REFERENCE_BINS
        cuts = np.searchsorted(before, wanted, side="left")  # they ascend; `np.unique` would import masked arrays
        cuts = cuts[(cuts > 0) & (cuts < len(used)) & (np.diff(cuts, prepend=-1) > 0)]
        edges = tuple(float(value) for value in _lower_edges(used[cuts]))
        counts = np.diff(np.concatenate([[0], before[cuts], [present]]))
        return edges, tuple(float(count) / present for count in counts)

    def shares_in(self, edges: tuple[float, ...]) -> tuple[float, ...]:
        """Share of the values in each of the `len(edges) + 1` bins that another summary's `edges` make."""
        present = self._count - self._missing
        if self._bins is None or not present:
            return (0.0,) * (len(edges) + 1)
        cuts = _codes(np.array(edges, dtype=np.float32)) if edges else np.array([], dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(self._bins)])
        counts = np.diff(np.concatenate([[0], before[cuts], [present]]))
        return tuple(float(count) / present for count in counts)

    def histogram(self, bars: int = 32) -> tuple[list[float], list[int]] | None:
        """`bars + 1` equally spaced edges and `bars` counts; None where there are no numbers."""
        if self._bins is None or self._count == self._missing:
            return None
        low, high = self._minimum, self._maximum
        used = np.flatnonzero(self._bins)
        if low == high or len(used) == 1:
            return [low, high], [int(self._bins.sum())]
        middles = np.clip((_lower_edges(used) + _lower_edges(used + 1)) / 2, low, high)
        # By halves: the distance of two doubles may be beyond every double. Of the smallest there are no halves.
        half = 0.5 if high > 1 or low < -1 else 1.0
        along = (middles * half - low * half) / (high * half - low * half) * bars
        places = np.minimum(along.astype(np.int64), bars - 1)
        counts = np.bincount(places, weights=self._bins[used], minlength=bars).astype(np.int64)
        edges = np.linspace(low * half, high * half, bars + 1) / half
        return [float(edge) for edge in edges], [int(count) for count in counts]


def _ends(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest, NaN where one is NaN; of no values infinities that change neither."""
    if not len(values):
        return math.inf, -math.inf
    with np.errstate(invalid="ignore"):
        return float(values.min()), float(values.max())


def _codes(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """`[N]` finite numbers → `[N]` bin numbers that ascend with them."""
    if values.dtype == np.float64:
        # Beyond float32's range lie the outermost bins.
        values = np.clip(values, -_LARGEST, _LARGEST)
    # With zero added, which makes zeros of both signs one: they are equal, and no SQL tells them apart.
    bits = (np.ascontiguousarray(values, dtype=np.float32) + np.float32(0)).view(np.int32)
    # Negative floats sort backwards by their bits: flip all but the sign.
    codes: npt.NDArray[np.int64] = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> 16).astype(np.int64) + _BINS // 2
    return codes


def _edge(code: int) -> float:
    """The edge of a bin that is next to zero."""
    half = code - _BINS // 2 if code >= _BINS // 2 else _BINS // 2 - 1 - code
    size = float(np.array([half << 16], dtype=np.int32).view(np.float32)[0])
    return size if code >= _BINS // 2 else -size


def _lower_edges(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    bits = ((codes - _BINS // 2) << 16).astype(np.int32)
    edges: npt.NDArray[np.float64] = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32).astype(np.float64)
    return edges


def population_stability_index(reference: Summary, current: ColumnStatistics) -> float | None:
    """Σ (aᵢ - eᵢ)·ln(aᵢ/eᵢ) over the reference's bins; None where either side is empty.

    N. Siddiqi, Credit Risk Scorecards (2006): below 0.1 no shift to speak of, above 0.25 a large one.
    """
    if not reference.shares or current.summary().count == current.missing:
        return None
    if reference.categories is not None:
        now = current.summary()
        known = dict(zip(now.categories or (), now.shares, strict=True))
        names = list(dict.fromkeys((*reference.categories, *known)))
        before = dict(zip(reference.categories, reference.shares, strict=True))
        pairs = [(before.get(name, 0.0), known.get(name, 0.0)) for name in names]
    else:
        pairs = list(zip(reference.shares, current.shares_in(reference.edges), strict=True))
    index = 0.0
    for expected, actual in pairs:
        e, a = max(expected, _SMALLEST_SHARE), max(actual, _SMALLEST_SHARE)
        index += (a - e) * math.log(a / e)
    return index


def summaries_to_json(summaries: dict[str, Summary]) -> str:
    return json.dumps({name: vars(summary) for name, summary in summaries.items()})


def summaries_from_json(text: str) -> dict[str, Summary]:
    def restored(values: dict[str, Any]) -> Summary:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return Summary(**fields)

    return {name: restored(values) for name, values in json.loads(text).items()}
