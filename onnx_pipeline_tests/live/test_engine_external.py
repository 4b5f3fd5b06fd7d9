"""The engines `external_language` and `external_python` on a server that runs no scripts: all of it but the call of one.

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
from onnx_pipeline_tests.engines.external.test_python import score
from onnx_pipeline_tests.extension import models
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


@pytest.mark.parametrize(
    ("drivers", "kind", "engine"),
    [
        ("mssqlpython", "DATETIMEOFFSET(6)", "external_language"),
        ("pyodbc", "DATETIME", "external_language"),
        ("mssqlpython", "DATETIME", "external_python"),
    ],
)
def test_a_slice_lands_with_what_passed_through_and_is_loaded(
    kind: str, drivers: str, engine: str, ground: LiveGround, staging: Staging, weighted_sum: Any
) -> None:
    moments = [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 3000 * i + 7000).isoformat(timespec="milliseconds") for i in range(6)
    ]
    table = visits(6).set_column(4, "at", pa.array(moments))
    ground.store("visits", table, at=kind)
    house = House(ground, staging, weighted_sum({"a": 2.0, "b": 1.0}), engine)
    assert house.land().rows == 3
    house.load()
    wanted = expected(of_ward(table, "east"))
    assert house.scores("east") == pytest.approx({key: float(value) for key, value in wanted.items()}, rel=1e-6)
    # As the next look at the source finds it, whatever its type became on its way.
    inventory = take_inventory(house.spec, ground.pool, house.plan.partitioning)
    assert ground.pool.scoring_log("house")["east"].fingerprint == inventory.slices["east"]
    assert {name for name in ground.tables() if name.startswith("onnx_")} == {"onnx_scoring_log", "onnx_models"}


KEYS = {
    "BIGINT": ["9007199254740993", "-9223372036854775808", "9223372036854775807"],
    "INT": ["-2147483648", "2147483647", "0"],
    "SMALLINT": ["-32768", "32767", "0"],
    "TINYINT": ["255", "0", "1"],
    "BIT": ["1", "0", "1"],
    "DECIMAL(30, 4)": ["12345678901234567890123456.7891", "-0.0001", "0.0000"],
    "NVARCHAR(40)": ["a'b", " é 漢 ", ""],
    "VARCHAR(40)": ["a", "A", " b"],
    "UNIQUEIDENTIFIER": ["0E984725-C51C-4BF4-9960-E1C80E27ABA0", *["00000000-0000-0000-0000-000000000000"] * 2],
    "DATE": ["0001-01-02", "9999-12-31", "2026-02-28"],
    "TIME(6)": ["23:59:59.999999", "00:00:00.000000", "01:02:03.000004"],
    "DATETIME2(6)": ["9999-12-31T23:59:59.123456", "2026-01-02T03:04:05", "1800-01-02T03:04:05.000001"],
    "DATETIMEOFFSET(6)": ["2026-01-02T03:04:05.123456+05:30", "2026-01-02T03:04:05+00:00", "1999-12-31T23:59:59-08:00"],
}  # fmt: skip


@pytest.mark.parametrize(("drivers", "engine"), [("mssqlpython", "external_python"), ("pyodbc", "external_language")])
def test_a_key_of_every_type_passes_through_unchanged(
    engine: str, drivers: str, ground: LiveGround, server: Server, tmp_path: Path
) -> None:
    columns = {f"c{place}": kind for place, kind in enumerate(KEYS)}
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    server.execute(f"CREATE TABLE rows (nr INT, a REAL, b REAL, {listed})")
    for row in range(3):
        texts = {kind: values[row].replace("'", "''") for kind, values in KEYS.items()}
        values = ", ".join(f"CAST(N'{text}' AS {kind})" for kind, text in texts.items())
        server.execute(f"INSERT INTO rows (nr, a, b, {', '.join(columns)}) VALUES ({row}, {row}.5, 1, {values})")
    nodes = [models.helper.make_node("Add", ["a", "a"], ["t"]), models.helper.make_node("Add", ["t", "b"], ["y"])]
    inputs = [("a", models.FLOAT, [None, 1]), ("b", models.FLOAT, [None, 1])]
    model = models.build(nodes, inputs, [("y", models.FLOAT, [None, 1])])
    score(ground, tmp_path, model, None, ["nr", *columns], engine={"kind": engine})
    same = " AND ".join(f"s.{name} = r.{name}" for name in columns)
    # Blanks at the end count for no comparison of T-SQL's.
    as_long = " AND ".join(f"LEN(CONCAT(s.{name}, '|')) = LEN(CONCAT(r.{name}, '|'))" for name in ("c6", "c7"))
    found = ground.query(
        f"SELECT r.nr, s.y FROM rows r JOIN scored s ON s.nr = r.nr AND {same} AND {as_long} ORDER BY r.nr"
    )
    assert [tuple(row) for row in found] == [(row, 2 * row + 2.0) for row in range(3)]


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
