"""A value of the server is the number, or the kind of refusal, that it is on every other way in.

`onnx_pipeline_tests/test_same_on_every_way.py` holds the other ways to the same cells.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from onnx_pipeline.models import OnnxModel
from onnx_pipeline.pools.tsql.connections import parse_url
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.value_cells import CELLS, DTYPES, Way, through_pipeline, wrong_cells

BY_TEXT = {
    pa.bool_(): "BIT", pa.uint8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INT", pa.int64(): "BIGINT",
    pa.date32(): "DATE", pa.timestamp("us"): "DATETIME2(6)",
}  # fmt: skip
"""Types whose values go there as text, which the server reads; floats and text are bulk copied, to the bit."""


def sql_type(arrow: pa.DataType) -> str | None:
    if pa.types.is_decimal(arrow):
        return f"DECIMAL({arrow.precision}, {arrow.scale})"
    return BY_TEXT.get(arrow)


def has_form(arrow: pa.DataType, value: Any, dtype: str) -> bool:
    """T-SQL has no NaN, no infinity, and one unsigned type."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return sql_type(arrow) is not None or arrow in (pa.float32(), pa.float64(), pa.string())


def as_text(value: Any) -> str | None:
    return None if value is None else str(int(value)) if isinstance(value, bool) else str(value)


@pytest.fixture(scope="module")
def places(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[pa.DataType, tuple[str, dict[str, int]]]:
    """Every cell, stored once: of each type the table, and the id of each value."""
    address = parse_url(server.url("mssql+mssqlpython"))
    ground = LiveGround(server, MssqlPool(address), tmp_path_factory.mktemp("cells"))
    stored = {}
    for arrow, every in CELLS:
        values = [value for value in every if has_form(arrow, value, "")]
        if not values:
            continue
        table, kind, ids = f"cells_{len(stored)}", sql_type(arrow), pa.array(range(len(values)), pa.int64())
        if kind is None:
            ground.store(table, pa.table({"id": ids, "x": pa.array(values, arrow)}))
        else:
            ground.store(table, pa.table({"id": ids, "x": pa.array(map(as_text, values), pa.string())}), x=kind)
        stored[arrow] = (table, {repr(value): place for place, value in enumerate(values)})
    return stored


@pytest.fixture(scope="module")
def loaded() -> dict[str, OnnxModel]:
    return {name: OnnxModel.from_bytes(models.echo({"x": dtype})) for name, dtype in DTYPES.items()}


@pytest.fixture
def in_pool(
    places: dict[pa.DataType, tuple[str, dict[str, int]]],
    loaded: dict[str, OnnxModel],
    pool: MssqlPool,
    tmp_path: Path,
) -> Way:
    def score(dtype: str, arrow: pa.DataType, values: Sequence[Any]) -> list[Any]:
        table, ids = places[arrow]
        listed = [ids[repr(value)] for value in values]  # which tells 0.0 from -0.0, and True from 1
        distinct = sorted(set(listed))
        query = f"SELECT id, x FROM {table} WHERE id IN ({', '.join(map(str, distinct))})"
        found = dict(zip(distinct, through_pipeline(pool, {"query": query}, loaded[dtype], tmp_path), strict=True))
        return [found[place] for place in listed]

    return score


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_is_the_same_number_or_the_same_refusal(in_pool: Way, dtype: str) -> None:
    wrong, tried = wrong_cells(in_pool, dtype, has_form, finite_only=False, every_refusal=False)
    assert not wrong
    assert tried
