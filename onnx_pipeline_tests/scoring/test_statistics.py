"""Statistics of predictions against numpy, and the stability index against a plain one."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_pipeline.scoring.statistics import (
    ColumnStatistics,
    population_stability_index,
    summaries_from_json,
    summaries_to_json,
)


def statistics(*columns):
    made = ColumnStatistics()
    for column in columns:
        made.update(column if isinstance(column, pa.Array) else pa.array(column))
    return made


FLOATS = {
    "standard normal": lambda rng: rng.normal(size=5000),
    "far from zero": lambda rng: rng.normal(1e6, 1e-2, size=5000),
    "negative": lambda rng: -rng.gamma(2.0, 3.0, size=5000),
    "tiny": lambda rng: rng.normal(size=5000) * 1e-30,
    "huge": lambda rng: rng.normal(size=5000) * 1e30,
    "constant": lambda rng: np.full(5000, 7.25),
    "probabilities": lambda rng: rng.beta(0.5, 0.5, size=5000),
    "skewed": lambda rng: rng.lognormal(0, 3, size=5000),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_agree_with_numpy(name, dtype):
    values = FLOATS[name](np.random.default_rng(1)).astype(dtype)
    exact = values.astype(np.float64)
    summary = statistics(values).summary()
    assert (summary.count, summary.missing) == (5000, 0)
    assert (summary.minimum, summary.maximum) == (exact.min(), exact.max())
    assert summary.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-12 * exact.std())
    assert summary.deviation == pytest.approx(exact.std(), rel=1e-6)


@pytest.mark.parametrize("arrow", [pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64()])
def test_integers_agree_with_numpy(arrow):
    limits = np.iinfo(arrow.to_pandas_dtype())
    values = np.random.default_rng(2).integers(
        limits.min, limits.max, size=2000, dtype=arrow.to_pandas_dtype(), endpoint=True
    )
    summary = statistics(pa.array(values, arrow)).summary()
    exact = values.astype(np.float64)
    assert (summary.minimum, summary.maximum) == (exact.min(), exact.max())
    assert summary.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9 * exact.std())
    assert summary.deviation == pytest.approx(exact.std(), rel=1e-9)


def test_nulls_nan_and_infinities_are_missing():
    column = pa.array([1.0, None, math.nan, 3.0, math.inf, -math.inf, None], pa.float64())
    made = statistics(column)
    assert made.missing == 5
    summary = made.summary()
    assert (summary.count, summary.missing, summary.mean, summary.minimum, summary.maximum) == (7, 5, 2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    "column", [pa.array([], pa.float32()), pa.array([None, None], pa.float32()), pa.array([math.nan], pa.float64())]
)
def test_a_column_without_a_number(column):
    made = statistics(column)
    summary = made.summary()
    assert (summary.count, summary.missing) == (len(column), len(column))
    assert (summary.mean, summary.deviation, summary.minimum, summary.maximum) == (None,) * 4
    assert made.histogram() is None
    assert population_stability_index(summary, statistics([1.0])) is None
    assert population_stability_index(statistics([1.0]).summary(), made) is None


@pytest.mark.parametrize(
    ("column", "categories", "shares"),
    [
        (pa.array(["b", "a", "b", None]), ("b", "a"), (2 / 3, 1 / 3)),
        (pa.array([True, False, True, True]), ("true", "false"), (0.75, 0.25)),
        (pa.array([], pa.string()), (), ()),
    ],
)
def test_texts_and_booleans_are_counted(column, categories, shares):
    summary = statistics(column).summary()
    assert summary.count == len(column)
    assert summary.missing == column.null_count
    assert summary.categories == categories
    assert summary.shares == pytest.approx(shares)


ANY_FLOAT = st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, -1.0]))


@given(values=st.lists(ANY_FLOAT, max_size=60), cut=st.integers(0, 60))
def test_batches_give_what_one_batch_gives(values, cut):
    cut = min(cut, len(values))
    whole = statistics(pa.array(values, pa.float32()))
    parts = statistics(pa.array(values[:cut], pa.float32()), pa.array(values[cut:], pa.float32()))
    one, two = whole.summary(), parts.summary()
    assert (one.count, one.missing, one.minimum, one.maximum, one.edges, one.shares) == (
        two.count, two.missing, two.minimum, two.maximum, two.edges, two.shares,
    )  # fmt: skip
    if one.mean is not None:
        scale = max(abs(one.minimum), abs(one.maximum))
        assert two.mean == pytest.approx(one.mean, rel=1e-9, abs=1e-9 * scale)
        assert two.deviation == pytest.approx(one.deviation, rel=1e-3, abs=1e-6 * scale)
    assert whole.histogram() == parts.histogram()


@given(values=st.lists(ANY_FLOAT, min_size=1, max_size=60))
def test_bins_hold_every_number_once(values):
    made = statistics(pa.array(values, pa.float32()))
    present = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=np.float64)
    assert made.missing == len(values) - len(present)
    if not len(present):
        return
    summary = made.summary()
    assert len(summary.shares) == len(summary.edges) + 1 <= 10
    assert list(summary.edges) == sorted(set(summary.edges))
    places = np.searchsorted(summary.edges, present, side="right")
    shares = np.bincount(places, minlength=len(summary.shares)) / len(present)
    # A zero may carry a sign; its bin is the one below zero then.
    if not np.any(np.signbit(present) & (present == 0)):
        assert summary.shares == pytest.approx(shares)
    assert sum(summary.shares) == pytest.approx(1.0)
    edges, counts = made.histogram()
    assert sum(counts) == len(present)
    assert len(edges) == len(counts) + 1
    assert (edges[0], edges[-1]) == (present.min(), present.max())


def test_a_histogram_is_numpys_up_to_the_width_of_a_bin():
    values = np.random.default_rng(3).uniform(10, 20, size=20_000).astype(np.float32)
    edges, counts = statistics(values).histogram(bars=10)
    expected, expected_edges = np.histogram(values, bins=10)
    np.testing.assert_allclose(edges, expected_edges, rtol=1e-6)
    # A value within 0.8 % of an edge may be counted on the other side.
    np.testing.assert_allclose(counts, expected, atol=0.02 * len(values))


def test_reference_bins_hold_about_a_tenth_each():
    summary = statistics(np.random.default_rng(4).normal(50, 10, size=50_000)).summary()
    assert len(summary.shares) == 10
    np.testing.assert_allclose(summary.shares, 0.1, atol=0.01)


def plain_index(reference, current, edges):
    """Siddiqi's index, by numpy's own binning."""
    bins = [-np.inf, *edges, np.inf]
    expected = np.maximum(np.histogram(reference, bins)[0] / len(reference), 1e-4)
    actual = np.maximum(np.histogram(current, bins)[0] / len(current), 1e-4)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


SHIFTS = [("none", 0, 1), ("small", 0.2, 1), ("large", 2, 1), ("wider", 0, 3), ("elsewhere", 100, 1)]


@pytest.mark.parametrize(("name", "by", "times"), SHIFTS)
def test_the_stability_index_agrees_with_a_plain_one(name, by, times):
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=8000), rng.normal(size=6000) * times + by
    before = statistics(reference).summary()
    index = population_stability_index(before, statistics(current))
    assert index == pytest.approx(plain_index(reference, current, before.edges), rel=1e-9)
    assert (index < 0.1) == (name in ("none", "small"))
    assert (index > 0.25) == (name in ("large", "wider", "elsewhere"))


@pytest.mark.parametrize(
    "values", [np.random.default_rng(6).normal(size=500), np.zeros(10), ["a", "b", "a"], [True, False], [-1, 0, 1]]
)
def test_the_same_data_have_an_index_of_nothing(values):
    made = statistics(values)
    assert population_stability_index(made.summary(), made) == pytest.approx(0.0, abs=1e-12)


def test_a_constant_that_moves_is_a_large_shift_and_one_that_stays_is_none():
    zeros = statistics(np.zeros(100)).summary()
    assert population_stability_index(zeros, statistics(np.zeros(50))) == pytest.approx(0.0)
    assert population_stability_index(zeros, statistics(np.full(50, 3.0))) > 0.25


def test_doubles_beyond_float32_lie_in_the_outermost_bins():
    made = statistics([-1e300, 0.0, 1e300])
    assert (made.summary().minimum, made.summary().maximum) == (-1e300, 1e300)
    assert sum(made.histogram(bars=3)[1]) == 3
    assert population_stability_index(made.summary(), made) == 0.0
    assert statistics([3.4e38, 3.4e38]).summary().shares == (0.0, 1.0)


def test_the_index_of_categories_counts_those_that_came_and_those_that_went():
    before = statistics(["a"] * 60 + ["b"] * 40)
    now = statistics(["a"] * 30 + ["c"] * 70)
    shares = [(0.6, 0.3), (0.4, 1e-4), (1e-4, 0.7)]
    expected = sum((actual - known) * math.log(actual / known) for known, actual in shares)
    assert population_stability_index(before.summary(), now) == pytest.approx(expected)
    assert expected > 0.25


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=30),
    words=st.lists(st.text(max_size=5), max_size=10),
)
@settings(deadline=None)
def test_summaries_survive_json(values, words):
    summaries = {
        "numbers": statistics(pa.array(values, pa.float32())).summary(),
        "wörds": statistics(pa.array(words, pa.string())).summary(),
    }
    text = summaries_to_json(summaries)
    # Strict JSON: no NaN, no Infinity.
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert summaries_from_json(text) == summaries


def test_an_index_after_json_is_the_same():
    rng = np.random.default_rng(7)
    before, now = statistics(rng.normal(size=999)), statistics(rng.normal(0.5, size=999))
    restored = summaries_from_json(summaries_to_json({"y": before.summary()}))["y"]
    assert population_stability_index(restored, now) == population_stability_index(before.summary(), now)
