"""Predictions that a server computes itself: nothing but counts passes through here."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.scoring.bins import binned, bins_of
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.statistics import ColumnStatistics
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.grounds import Ground
from onnx_pipeline_tests.scoring.landing_contract import *  # noqa: F403 - the tests themselves
from onnx_pipeline_tests.scoring.landing_contract import House, visits
from onnx_pipeline_tests.scoring.test_bins import DOUBLES, EDGES, assert_same, streamed


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path) -> Ground:
    return LiveGround(server, open_with("mssqlpython"), tmp_path)


@pytest.mark.parametrize("drivers", ["mssqlpython", "pyodbc"])
@pytest.mark.parametrize(
    "kind", ["DATETIME", "DATETIME2(3)", "DATETIME2(6)", "DATETIMEOFFSET(6)", "DATE", "SMALLDATETIME"]
)
def test_changed_is_logged_as_an_inventory_finds_it_whatever_its_type(
    server: Server,
    open_with: OpenPool,
    tmp_path: Path,
    staging: Any,
    weighted_sum: Any,
    outside: None,
    kind: str,
    drivers: str,
) -> None:
    ground = LiveGround(server, open_with(drivers), tmp_path)
    rows = visits(6)
    moments = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 3000 * i + 7000).isoformat(timespec="milliseconds") for i in range(6)
    ]
    if kind == "DATE":
        moments = [text[:10] for text in moments]
    ground.store("visits", rows.set_column(4, "at", pa.array(moments)), at=kind)
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}))
    for ward in ("east", "west"):
        house.land(ward)
    house.load("east", "west")
    plan = house.plan
    inventory = take_inventory(house.spec, ground.pool, plan.partitioning)
    logged = ground.pool.scoring_log("house")
    assert {key: row.fingerprint for key, row in logged.items()} == inventory.slices


@pytest.mark.parametrize("arrow", [pa.float32(), pa.float64(), pa.int64()], ids=str)
def test_numbers_counted_by_the_server_are_as_counted_here(ground: LiveGround, arrow: pa.DataType) -> None:
    if pa.types.is_integer(arrow):
        values: list[Any] = [0, 1, -1, 127, 128, 129, 2**24 + 1, -(2**62) - 1, 2**63 - 1, None]
    else:
        # A server's REAL and FLOAT hold normal numbers.
        given = EDGES if arrow == pa.float32() else DOUBLES
        powers = [sign * 2.0**exponent for exponent in range(-126, 128, 3) for sign in (1, -1)]
        values = [float(value) for value in given if abs(value) >= 2.0**-126 or value == 0] + powers + [0.1, None]
    column = pa.array(
        [None if value is None else np.float32(value) for value in values] if arrow == pa.float32() else values, arrow
    )
    ground.store("numbers", pa.table({"score": column}))
    import sqlalchemy as sa

    pool: MssqlPool = ground.pool
    bins = bins_of(pool.fetch(binned(sa.table("numbers", sa.column("score")), "score", arrow)))
    counted = ColumnStatistics.of_bins(len(column), len(column) - sum(each.count for each in bins), bins)
    assert_same(counted, streamed(column))
