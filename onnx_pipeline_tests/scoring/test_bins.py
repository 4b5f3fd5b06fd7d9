"""What a pool counts of predictions is what counting them row by row gives."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_pipeline.pools.duckdb.statements import reader
from onnx_pipeline.pools.tsql.dialect import compiled
from onnx_pipeline.scoring.bins import binned, bins_of
from onnx_pipeline.scoring.statistics import ColumnStatistics, Summary

EDGES = [
    value * sign
    for sign in (1.0, -1.0)
    for value in (
        0.0, 2.0**-149, 2.0**-133, 2.0**-127, 2.0**-126, np.nextafter(np.float32(1), np.float32(0)), 1.0, 2.0,
        np.nextafter(np.float32(2), np.float32(3)), 1.0 + 2.0**-7, 3.0, 2.0**24, 2.0**127, np.finfo(np.float32).max,
    )
]  # fmt: skip
DOUBLES = [*EDGES, 1e-300, -1e-46, 7.1e-46, 1e39, -1e60, 0.1, 1.0 - 1e-12, 2.0**-150]


@pytest.fixture(scope="module")
def database():
    with duckdb.connect(":memory:") as connection:
        yield connection


def streamed(column):
    statistics = ColumnStatistics()
    for start in range(0, max(1, len(column)), 7):
        statistics.update(column.slice(start, 7))
    return statistics


def counted(database, column):
    """As `land` does it, with NULL in place of what is no number."""
    values = [value if value is not None and math.isfinite(value) else None for value in column.to_pylist()]
    database.register("landed", pa.table({"score": pa.array(values, column.type)}))
    rows = sa.table("landed", sa.column("score"))
    with reader(database, binned(rows, "score", column.type)) as found:
        bins = bins_of(found.read_all())
    return ColumnStatistics.of_bins(len(column), len(column) - sum(each.count for each in bins), bins)


def assert_same(found, expected):
    assert found.missing == expected.missing
    one, other = found.summary(), expected.summary()
    assert (one.count, one.missing, one.minimum, one.maximum) == (
        other.count,
        other.missing,
        other.minimum,
        other.maximum,
    )
    assert (one.edges, one.shares, one.categories) == (other.edges, other.shares, other.categories)
    assert (one.mean is None) == (other.mean is None)
    if one.mean is not None:
        spread = max(abs(one.minimum), abs(one.maximum))
        assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=max(1e-280, 1e-12 * spread))
        assert (one.deviation is None) == (other.deviation is None)
        if one.deviation is not None:
            assert math.isclose(one.deviation, other.deviation, rel_tol=1e-6, abs_tol=1e-6 * spread)
    assert found.histogram() == expected.histogram()
    for edges in ((), (0.0,), (-1.0, 0.5, 2.0), other.edges):
        assert found.shares_in(edges) == expected.shares_in(edges)


singles = st.lists(
    st.one_of(st.none(), st.floats(width=32), st.sampled_from([float(value) for value in EDGES])), max_size=40
)


@settings(deadline=None)
@given(singles)
def test_floats_counted_in_the_pool_are_as_counted_here(database, values):
    column = pa.array([None if value is None else np.float32(value) for value in values], pa.float32())
    assert_same(counted(database, column), streamed(column))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e140, 1e140), st.sampled_from(DOUBLES)), max_size=40))
def test_doubles_counted_in_the_pool_are_as_counted_here(database, values):
    column = pa.array(values, pa.float64())
    assert_same(counted(database, column), streamed(column))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=40))
def test_integers_counted_in_the_pool_are_as_counted_here(database, values):
    column = pa.array(values, pa.int64())
    assert_same(counted(database, column), streamed(column))


def test_every_power_of_two_and_its_neighbours_lie_in_their_bins(database):
    powers = np.float32(2.0) ** np.arange(-149, 128, dtype=np.float32)
    around = np.concatenate([powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(np.inf))])
    column = pa.array(np.concatenate([around, -around]).astype(np.float32))
    assert_same(counted(database, column), streamed(column))


def test_doubles_without_a_square_have_no_deviation(database):
    found = counted(database, pa.array([1.0, 1e200, -1e200], pa.float64())).summary()
    assert found.deviation is None
    assert found.maximum == 1e200


def test_a_column_of_nothing_is_one_of_nothing(database):
    column = pa.nulls(3, pa.float32())
    assert counted(database, column).summary() == Summary(3, 3, None, None, None, None, (), ())


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "A", "", "é", "b"]))))
def test_texts_counted_in_the_pool_are_as_counted_here(values):
    column = pa.array(values, pa.string())
    counts: dict[str, int] = {}
    for value in reversed(values):
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    found = ColumnStatistics.of_values(len(values), values.count(None), counts)
    assert found.summary() == streamed(column).summary()


def test_the_statement_is_t_sql_that_gives_the_same_bins(database):
    """By a translation of it, as far as that can tell."""
    values = [float(value) for value in EDGES] + [0.1, -7.25, 12345.678]
    column = pa.array(values, pa.float32())
    database.register("landed", pa.table({"score": column}))
    text = str(compiled(binned(sa.table("landed", sa.column("score")), "score", pa.float32())))
    (tree,) = sqlglot.parse(text.replace("FLOAT(53)", "DOUBLE PRECISION"), read="tsql")
    bins = bins_of(database.sql(tree.sql(dialect="duckdb")).to_arrow_table())
    assert_same(ColumnStatistics.of_bins(len(values), 0, bins), streamed(column))
