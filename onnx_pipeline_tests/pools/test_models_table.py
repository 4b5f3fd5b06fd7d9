"""The models table of every pool: a model once in each form, and tables that a version before made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.records import NORMALISED
from onnx_pipeline.pools.scripts import script, statements_of
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.pool import MssqlPool
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline_tests.pools.conftest import ADDRESS, Waits, synapse_on
from onnx_pipeline_tests.pools.imitation import Fault, ImitatedDriver, Server

Ask = Callable[[str], list[tuple[Any, ...]]]

ORIGINAL, REWRITTEN = "ab" * 32, "cd" * 32
"""The sha256 of a model's bytes as they came, and of what normalising made of them."""

BEFORE = {
    "duckdb": "CREATE TABLE onnx_models (id BIGINT NOT NULL, name VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, "
    "model BLOB NOT NULL, created_at TIMESTAMP NOT NULL, signature VARCHAR NOT NULL)",
    "mssql": "CREATE TABLE onnx_models (id BIGINT NOT NULL, name NVARCHAR(450) COLLATE Latin1_General_BIN2 NOT NULL, "
    "sha256 NVARCHAR(64) NOT NULL, model VARBINARY(MAX) NOT NULL, created_at DATETIME2(6) NOT NULL, "
    "signature NVARCHAR(MAX) NOT NULL)",
    "fabric": "CREATE TABLE onnx_models (id BIGINT NOT NULL, name VARCHAR(1800) NOT NULL, sha256 VARCHAR(64) NOT NULL, "
    "model VARBINARY(MAX) NOT NULL, created_at DATETIME2(6) NOT NULL, signature VARCHAR(MAX) NOT NULL)",
}
"""What the version before made, which knew no forms; on Synapse as on SQL Server."""
ROW_BEFORE = f"INSERT INTO onnx_models VALUES (7, 'stay', '{REWRITTEN}', 0x6f6c64, '2026-01-01', '{{}}')"
"""What its `extension register` wrote: the sha256 is that of the bytes that stand there."""
LOOK_UP_BEFORE = f"SELECT TOP (1) model FROM onnx_models WHERE sha256 = '{REWRITTEN}' ORDER BY id DESC"
"""How a procedure that it printed finds its model."""
ROWS = "SELECT id, name, sha256, model, form FROM onnx_models ORDER BY id"

KINDS = ("duckdb", "mssql", "synapse", "fabric")


def pool_on(server: Server, kind: str) -> MssqlPool:
    if kind == "mssql":
        return MssqlPool(ADDRESS, driver=ImitatedDriver(server), retries=Retries(sleep=Waits()))
    return synapse_on(server, made={"synapse": SynapsePool, "fabric": FabricPool}[kind])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def models(kind: str, server: Server, tmp_path: Path) -> tuple[Pool, Ask]:
    """A pool without a models table, and a way to look at it past the code under test."""
    if kind != "duckdb":
        return pool_on(server, kind), server.rows
    pool = open_pool(f"duckdb:///{tmp_path}/pool.duckdb")
    assert isinstance(pool, DuckDBPool)

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with pool.connect("asking", create=True) as connection:
            return connection.execute(statement).fetchall()

    return pool, ask


@pytest.fixture
def before(kind: str, models: tuple[Pool, Ask]) -> tuple[Pool, Ask]:
    """The same pool as the version before left it."""
    pool, ask = models
    if isinstance(pool, MssqlPool):
        with pool.session("preparing") as session:
            session.execute(BEFORE.get(kind, BEFORE["mssql"]))
            session.execute(ROW_BEFORE)
    else:
        ask(BEFORE[kind])
        ask(ROW_BEFORE.replace("0x6f6c64", "'old'::BLOB"))
    return models


def test_a_model_stands_once_in_each_form_under_the_sha256_of_its_original(models: tuple[Pool, Ask]) -> None:
    pool, ask = models
    forms = [(None, b"as it came"), (NORMALISED, b"normal"), ("scalar inputs", b"scalars")]
    for _ in range(2):
        ids = [pool.register_model("stay", ORIGINAL, data, "{}", form) for form, data in forms]
        assert ids == [1, 2, 3]
    assert pool.register_model("others", ORIGINAL, b"normal", "{}", NORMALISED) == 4
    assert ask(ROWS) == [
        (1, "stay", ORIGINAL, b"as it came", None),
        (2, "stay", ORIGINAL, b"normal", "normalised"),
        (3, "stay", ORIGINAL, b"scalars", "scalar inputs"),
        (4, "others", ORIGINAL, b"normal", "normalised"),
    ]


def test_what_stands_is_left_as_it_is(models: tuple[Pool, Ask]) -> None:
    pool, ask = models
    for data in (b"normal", b"by another version"):
        assert pool.register_model("stay", ORIGINAL, data, "{}", NORMALISED) == 1
    assert ask("SELECT model FROM onnx_models") == [(b"normal",)]


def test_a_table_from_before_gets_the_column_and_keeps_its_rows(before: tuple[Pool, Ask]) -> None:
    pool, ask = before
    for _ in range(2):
        assert pool.register_model("stay", ORIGINAL, b"normal", "{}", NORMALISED) == 8
        # The version before knew this row, and so does this one: its bytes are those that the sha256 is of.
        assert pool.register_model("stay", REWRITTEN, b"old", "{}") == 7
    assert ask(ROWS) == [(7, "stay", REWRITTEN, b"old", None), (8, "stay", ORIGINAL, b"normal", "normalised")]


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
def test_a_procedure_of_the_version_before_still_finds_its_row(before: tuple[Pool, Ask]) -> None:
    pool, _ = before
    assert isinstance(pool, MssqlPool)
    with pool.session("applying") as session:
        for _ in range(2):
            for statement in statements_of(script(pool.sql_folder, "onnx_models")):
                session.execute(statement)
        assert session.rows(LOOK_UP_BEFORE) == [(b"old",)]
    pool.register_model("stay", ORIGINAL, b"normal", "{}", NORMALISED)
    with pool.session("looking") as session:
        assert session.rows(LOOK_UP_BEFORE) == [(b"old",)]


def fail_at_the_column(server: Server, kind: str, **fault: Any) -> None:
    """A fault at the statement that adds the column, wherever that comes."""
    other = Server()
    pool_on(other, kind).register_model("probe", ORIGINAL, b"", "{}")
    place = next(place for place, text in enumerate(other.statements, start=1) if "ALTER TABLE" in text)
    server.fault = Fault(len(server.statements) + place, **fault)


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
def test_somebody_who_may_not_alter_the_table_is_told_who_does_it_and_how(
    before: tuple[Pool, Ask], server: Server, kind: str
) -> None:
    pool, ask = before
    fail_at_the_column(server, kind, number=1088)
    with pytest.raises(PoolError, match=r"error 1088.*lacks its column `form`.*run `onnx-pipeline sql apply` once"):
        pool.register_model("stay", ORIGINAL, b"normal", "{}", NORMALISED)
    assert ask("SELECT id FROM onnx_models") == [(7,)]


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
def test_of_two_that_add_the_column_at_once_both_register(before: tuple[Pool, Ask], server: Server, kind: str) -> None:
    pool, _ = before
    # The other one was faster: the column is there, and ours is one too many.
    fail_at_the_column(server, kind, number=2705, after=True)
    assert pool.register_model("stay", ORIGINAL, b"normal", "{}", NORMALISED) == 8
