"""The engine `external_language` on a server that has no external languages: all of it but the call of the script.

What would go to the script goes to a SELECT over the same input query: so the query, what passes through it, INSERT … EXEC
and what the landing's columns make of the rows are the server's own.
"""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError, SpecError
from onnx_pipeline.pools.landing import ServerScript
from onnx_pipeline.pools.tsql.dialect import quoted, readable
from onnx_pipeline.scoring.inventory import take_inventory
from onnx_pipeline.scoring.readiness import refuse_unsupported
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline_tests.live.conftest import OpenPool
from onnx_pipeline_tests.live.ground import LiveGround
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.scoring.landing_contract import House, expected, of_ward, visits


@pytest.fixture
def ground(server: Server, open_with: OpenPool, tmp_path: Path, request: pytest.FixtureRequest) -> LiveGround:
    parameters = getattr(request.node, "callspec", None)
    drivers = "mssqlpython" if parameters is None else parameters.params["drivers"]
    return LiveGround(server, open_with(drivers), tmp_path)


@pytest.fixture(autouse=True)
def no_script(server: Server, fresh: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """2·x0 + x1 by the server itself, in a procedure that holds the input query: not every server takes the rows of
    sp_executesql by INSERT … EXEC."""

    def instead(table: sa.Table, names: Sequence[str], script: ServerScript) -> str:
        kept = f"EXISTS (SELECT 1 FROM onnx_models WHERE id = {script.parameters['model_id']} AND form = 'normalised')"
        passed = [name for name, _ in script.query.selected_columns.items() if name.startswith("k")]
        procedure = fresh("instead")
        server.execute(
            f"CREATE PROCEDURE {procedure} AS BEGIN SET NOCOUNT ON; SELECT {', '.join(passed)}, "
            f"CASE WHEN {kept} THEN CAST(2 * x0 + x1 AS REAL) END FROM ({readable(script.query)}) AS given END"
        )
        return f"INSERT INTO {quoted(table.schema, table.name)} ({', '.join(map(quoted, names))}) EXEC {procedure}"

    monkeypatch.setattr("onnx_pipeline.pools.tsql.landing.insert_exec", instead)


@pytest.mark.parametrize(("drivers", "kind"), [("mssqlpython", "DATETIMEOFFSET(6)"), ("pyodbc", "DATETIME")])
def test_a_slice_lands_with_what_passed_through_and_is_loaded(
    kind: str, drivers: str, ground: LiveGround, staging: Staging, weighted_sum: Any
) -> None:
    moments = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 3000 * i + 7000).isoformat(timespec="milliseconds") for i in range(6)
    ]
    table = visits(6).set_column(4, "at", pa.array(moments))
    ground.store("visits", table, at=kind)
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), "external_language")
    assert house.land().rows == 3
    house.load()
    wanted = expected(of_ward(table, "east"))
    assert house.scores("east") == pytest.approx({key: float(value) for key, value in wanted.items()}, rel=1e-6)
    # As the next look at the source finds it, whatever its type became on its way.
    inventory = take_inventory(house.spec, ground.pool, house.plan.partitioning)
    assert ground.pool.scoring_log("house")["east"].fingerprint == inventory.slices["east"]
    assert {name for name in ground.tables() if name.startswith("onnx_")} == {"onnx_scoring_log", "onnx_models"}


def test_a_batch_that_fails_leaves_nothing(
    ground: LiveGround, staging: Staging, weighted_sum: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.store("visits", visits(4))
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), "external_language")
    failing = "RAISERROR (N'the script failed', 16, 1)"
    monkeypatch.setattr("onnx_pipeline.pools.tsql.landing.insert_exec", lambda *_: failing)
    with pytest.raises(PoolError, match="the script failed"):
        house.land()
    assert not [name for name in ground.tables() if name.startswith("onnx_landing")]


def test_a_server_without_the_language_is_told_before_a_row_moves(
    ground: LiveGround, staging: Staging, weighted_sum: Any
) -> None:
    ground.store("visits", visits(4))
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), "external_language")
    with pytest.raises(SpecError, match="external_language` cannot run this model, since .*: .*Nothing was scored"):
        refuse_unsupported(house.plan, ground.pool)
