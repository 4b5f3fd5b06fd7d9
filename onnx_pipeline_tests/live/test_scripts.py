"""The models table, the scripts of `sql/` and how `sql apply` runs them."""

import hashlib
import os
from collections.abc import Callable, Iterator

import pytest

from onnx_pipeline.cli.sql import apply_sql, scripts_of
from onnx_pipeline.pools.scripts import statements_of
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline_tests.live.server import Server
from onnx_pipeline_tests.pools.test_models_table import BEFORE, LOOK_UP_BEFORE, ORIGINAL, REWRITTEN, ROW_BEFORE

TABLES = {
    "onnx_models": [
        ("id", "bigint"), ("name", "nvarchar"), ("sha256", "nvarchar"), ("model", "varbinary"),
        ("created_at", "datetime2"), ("signature", "nvarchar"), ("form", "nvarchar"),
    ],
    "onnx_scoring_log": [
        ("scoring", "nvarchar"), ("partition_key", "nvarchar"), ("model_sha256", "nvarchar"), ("rows", "bigint"),
        ("source_rows", "bigint"), ("source_changed", "nvarchar"), ("seconds", "float"), ("run_id", "nvarchar"),
        ("scored_at", "datetime2"), ("statistics", "nvarchar"), ("target", "nvarchar"), ("settings", "nvarchar"),
        ("partitions", "nvarchar"),
    ],
    "length_of_stay_predictions": [
        ("encounter_id", "bigint"), ("predicted_days", "real"), ("partition_key", "nvarchar"),
        ("model_sha256", "nvarchar"), ("scored_at", "datetime2"), ("run_id", "nvarchar"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 8_000, 8_001, 3_000_000])
def test_a_model_lies_in_the_pool_byte_by_byte_and_once(
    server: Server, pool: MssqlPool, fresh: Callable[[str], str], size: int
) -> None:
    name, data = fresh("Größe of stay"), os.urandom(size)
    sha256 = hashlib.sha256(data).hexdigest()
    for _ in range(2):
        as_it_came = pool.register_model(name, sha256, data, '{"inputs": ["é"]}')
        normalised = pool.register_model(name, sha256, b"\0" + data, "{}", "normalised")
    pool.register_model(name, "0" * 64, b"\0", "{}")
    found = server.rows("SELECT sha256, model, signature, form FROM onnx_models WHERE name = ? ORDER BY id", [name])
    assert found == [
        (sha256, data, '{"inputs": ["é"]}', None),
        (sha256, b"\0" + data, "{}", "normalised"),
        ("0" * 64, b"\0", "{}", None),
    ]
    assert server.rows("SELECT id FROM onnx_models WHERE name = ? AND sha256 = ? ORDER BY id", [name, sha256]) == [
        (as_it_came,),
        (normalised,),
    ]
    ids = [row[0] for row in server.rows("SELECT id FROM onnx_models")]
    assert len(set(ids)) == len(ids)


@pytest.fixture
def another() -> Iterator[Server]:
    """A second new database, for what a script makes of an empty one."""
    with Server.made() as another:
        yield another


def assert_tables(server: Server) -> None:
    for table, columns in TABLES.items():
        found = server.rows(
            "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = ? "
            "ORDER BY ORDINAL_POSITION",
            [table],
        )
        assert found == columns


def test_the_scripts_make_the_tables_and_running_them_again_changes_nothing(another: Server) -> None:
    from onnx_pipeline.pools import open_pool

    pool = open_pool(another.url("mssql+mssqlpython"))
    for _ in range(2):
        for script in scripts_of(pool):
            if script.name != "roles.sql":
                for statement in statements_of(script.read_text(encoding="utf-8")):
                    another.execute(statement)
        another.execute("INSERT INTO onnx_models VALUES (1, 'kept', 'a', 0x00, '2026-01-01', '{}', NULL)")
    assert_tables(another)
    assert another.scalar("SELECT COUNT(*) FROM onnx_models") == 2


@pytest.mark.parametrize("by", ["the scripts", "registering"])
def test_a_models_table_from_before_gets_its_column_and_keeps_rows_and_procedures(another: Server, by: str) -> None:
    from onnx_pipeline.pools import open_pool

    another.execute(BEFORE["mssql"])
    another.execute(ROW_BEFORE)
    another.execute(f"CREATE PROCEDURE printed_before AS BEGIN {LOOK_UP_BEFORE} END")
    pool = open_pool(another.url("mssql+mssqlpython"))
    for _ in range(2):
        if by == "the scripts":
            for statement in statements_of(scripts_of(pool)[0].read_text(encoding="utf-8")):
                another.execute(statement)
        else:
            assert pool.register_model("stay", ORIGINAL, b"normal", "{}", "normalised") == 8
        assert another.rows("EXEC printed_before") == [(b"old",)]
    assert pool.register_model("stay", ORIGINAL, b"normal", "{}", "normalised") == 8
    assert another.rows("SELECT id, sha256, model, form FROM onnx_models ORDER BY id") == [
        (7, REWRITTEN, b"old", None),
        (8, ORIGINAL, b"normal", "normalised"),
    ]


def test_sql_apply_makes_tables_roles_and_rights(another: Server) -> None:
    if not another.takes("CREATE ROLE probe") or not another.takes("GRANT CREATE TABLE TO probe"):
        pytest.skip("this server grants a role no right to create tables")
    for _ in range(2):
        apply_sql(another.url("mssql+mssqlpython"), dry_run=False)
    assert_tables(another)
    for right, table, role in (
        ("INSERT", "onnx.length_of_stay_predictions", "onnx_scorer"),
        ("DELETE", "onnx_scoring_log", "onnx_scorer"),
        ("SELECT", "onnx_models", "onnx_reader"),
    ):
        found = another.rows(
            "SELECT 1 FROM sys.database_permissions AS p WHERE p.grantee_principal_id = DATABASE_PRINCIPAL_ID(?) "
            "AND p.permission_name = ? AND (p.major_id = OBJECT_ID(?) OR p.class_desc = 'SCHEMA')",
            [role, right, table],
        )
        assert found, (role, right, table)
