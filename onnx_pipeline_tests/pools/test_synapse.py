"""The Synapse pool on an imitated server, with its storage on this disk."""

import re

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.azure.account import BlobAccount
from onnx_pipeline.base.errors import PoolError, PoolUnavailableError, SpecError
from onnx_pipeline.pools.fabric.pool import FabricPool
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.tables import staging_name
from onnx_pipeline.pools.tsql.transient import Retries
from onnx_pipeline.spec.target import TargetSpec
from onnx_pipeline_tests.pools.conftest import ADDRESS, STAGED, load, rows_of, slice_of, synapse_on, target_of
from onnx_pipeline_tests.pools.imitation import Fault, ImitatedDriver, Server, Storage

COUNTS = "SELECT partition_key, run_id, score, count(*) FROM predictions GROUP BY ALL ORDER BY ALL"


@pytest.fixture
def server(tmp_path):
    return Server(storage=tmp_path)


def test_rows_come_in_through_storage_which_is_left_empty(server, tmp_path):
    pool = synapse_on(server)
    load(pool, slice_of(rows_of(0, 100, 1.0)))
    load(pool, slice_of(rows_of(50, 30, 2.0), run_id="run-2"), mode="upsert")
    assert server.rows(COUNTS) == [("2026-01-01", "run-1", 1.0, 70), ("2026-01-01", "run-2", 2.0, 30)]
    assert server.staging_tables() == []
    assert Storage(tmp_path).files() == []
    assert not any("applock" in statement for statement in server.statements)


def test_whatever_breaks_rows_come_in_once(tmp_path):
    server = Server(storage=tmp_path)
    pool = synapse_on(server)
    load(pool, slice_of(rows_of(0, 100, 1.0)))
    server.statements.clear()
    load(pool, slice_of(rows_of(0, 100, 1.0)))
    for at in range(1, len(server.statements) + 1):
        for number, after in ((None, False), (None, True), (42109, False)):
            server.fault = None
            load(pool, slice_of(rows_of(0, 100, 1.0)))
            server.statements.clear()
            server.fault = Fault(at, number, after)
            load(pool, slice_of(rows_of(0, 90, 2.0), run_id="run-2"))
            assert server.rows(COUNTS) == [("2026-01-01", "run-2", 2.0, 90)]
            assert Storage(tmp_path).files() == []


GOING, ENDED = "8a1f6f0e-5d1c-4b7e-9f0a-3c2d1e0f9b8a", "0c9e7d55-1f2a-4e3b-8c4d-5a6b7c8d9e0f"
"""Ids as Dagster makes them."""


def left_by(server, run_id, resource="0123456789abcdef"):
    """A staging table that a killed load of the run left."""
    name = staging_name(f"onnx_{resource}", run_id, 2)
    server.rows(f"CREATE TABLE {name} (id INT)")
    return name


def test_what_a_killed_run_left_is_dropped_once_it_is_old_and_the_run_has_ended(server):
    pool = synapse_on(server).for_run("now", lambda: ["now", GOING])
    load(pool, slice_of(rows_of(0, 1, 1.0)))
    ended, going = left_by(server, ENDED), left_by(server, GOING)
    young = left_by(server, ENDED, resource="fedcba9876543210")
    server.old_tables = {ended, going}
    load(pool, slice_of(rows_of(0, 1, 1.0)))
    assert sorted(server.staging_tables()) == sorted([going, young])


def test_outside_a_run_nobody_knows_what_is_going_and_nothing_is_dropped(server):
    account = BlobAccount("https://account.blob.core.windows.net")
    pool = SynapsePool(ADDRESS, driver=ImitatedDriver(server), staging=Storage(server.storage), account=account)
    load(pool, slice_of(rows_of(0, 1, 1.0)))
    old = left_by(server, ENDED)
    server.old_tables = {old}
    load(pool, slice_of(rows_of(0, 1, 1.0)))
    assert server.staging_tables() == [old]


def test_folders_are_named_by_the_run_that_made_them(server, tmp_path):
    """A sweep compares that part of the name with Dagster's run ids."""
    seen = []
    folder = Storage.folder

    def noted(self, scoring, run, attempt, partition):
        seen.append((scoring, run))
        return folder(self, scoring, run, attempt, partition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "folder", noted)
        pool = synapse_on(server, extract="cetas").for_run(GOING, lambda: [GOING])
        load(pool, slice_of(rows_of(0, 10, 1.0), run_id=GOING))
        with pool.read(sa.select(sa.column("id")).select_from(sa.table("predictions"))) as reader:
            assert reader.read_all().num_rows == 10
    assert seen == [("scoring", GOING), ("extract", GOING)]


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({}, "WITH (DISTRIBUTION = HASH([id]), CLUSTERED COLUMNSTORE INDEX)"),
        ({"distribution": "hash(LABEL)", "index": "heap"}, "WITH (DISTRIBUTION = HASH([label]), HEAP)"),
        (
            {"distribution": "ROUND_ROBIN", "index": "columnstore"},
            "WITH (DISTRIBUTION = ROUND_ROBIN, CLUSTERED COLUMNSTORE INDEX)",
        ),
    ],
)
def test_the_target_is_laid_out_as_the_spec_says(server, options, layout):
    target = target_of(options=TargetSpec(table="predictions", **options))
    (statement,) = synapse_on(server).target_statements(target)
    assert statement.endswith(layout)
    # Columnstore holds no (max) types.
    assert ("NVARCHAR(max)" in statement) == (options.get("index") == "heap")


def test_a_distribution_by_a_column_that_is_not_there_is_an_error(server):
    target = target_of(options=TargetSpec(table="predictions", distribution="hash(idd)"))
    with pytest.raises(SpecError, match="predictions has no column 'idd'; did you mean 'id'"):
        synapse_on(server).target_statements(target)


@pytest.mark.parametrize("way", ["SAS", "account key"])
def test_the_storages_secret_reaches_the_server_and_nothing_else(server, way):
    secret = "sv=2024&sig=abc%2Fdef%3D"
    pool = synapse_on(server, BlobAccount("https://account.blob.core.windows.net", way, secret))
    original = server.arrive

    def refuse(connection, statement, carry_out):
        if statement.startswith("COPY INTO"):
            assert secret in statement
            assert "https://account.blob.core.windows.net/c/staging/" in statement
            raise duckdb_error(f"Not able to validate external location: {statement}")
        return original(connection, statement, carry_out)

    def duckdb_error(text):
        from onnx_pipeline_tests.pools.imitation import ImitatedError

        return ImitatedError(text)

    server.arrive = refuse
    with pytest.raises(PoolError, match="Not able to validate") as caught:
        load(pool, slice_of(rows_of(0, 10, 1.0)))
    assert secret not in str(caught.value)
    assert "abc%2Fdef" not in str(caught.value)


def test_rows_go_out_as_parquet_where_the_url_says_so(server, tmp_path):
    load(synapse_on(server), slice_of(rows_of(0, 100, 1.0)))
    server.statements.clear()
    statement = (
        sa.select(sa.column("id"), sa.column("label"))
        .select_from(sa.table("predictions"))
        .where(sa.column("label") == "éé")
    )
    with synapse_on(server, extract="cetas").read(statement) as reader:
        rows = reader.read_all()
    assert sorted(rows["id"].to_pylist()) == [i for i in range(100) if i % 3 == 2]
    assert [text[:21] for text in server.statements if text != "connect" and "IF OBJECT" not in text] == [
        "CREATE EXTERNAL TABLE"
    ]
    assert Storage(tmp_path).files() == []


@pytest.mark.parametrize(("options", "limit"), [({}, "60,000"), ({"slice_limit": "240000"}, "240,000")])
def test_a_slice_above_what_one_transaction_takes_is_refused_before_anything_is_sent(server, tmp_path, options, limit):
    pool = synapse_on(server, **options)
    pool.ensure_target(target_of())
    server.statements.clear()
    with pytest.raises(PoolError, match=f"takes {limit} MB. Nothing was loaded. Partition finer") as caught:
        list(pool.load(target_of(), iter([slice_of(rows_of(0, 1, 1.0), size=241_000_000_000)]), "replace", print))
    assert "scoring: partition '2026-01-01' is 241,000 MB" in str(caught.value)
    assert "?slice_limit=<MB>" in str(caught.value)
    assert server.statements == []
    assert Storage(tmp_path).files() == []


def test_a_slice_as_large_as_one_transaction_is_loaded(server):
    load(synapse_on(server), slice_of(rows_of(0, 5, 1.0), size=60_000_000_000))
    assert server.rows("SELECT count(*) FROM predictions") == [(5,)]


def test_statements_have_a_label_where_they_take_one_and_none_where_they_do_not(server):
    pool = synapse_on(server, extract="cetas")
    load(pool, slice_of(rows_of(0, 10, 1.0)), mode="upsert")
    with pool.read(sa.select(sa.column("id")).select_from(sa.table("predictions"))) as reader:
        assert reader.read_all().num_rows == 10
    kinds = {"labelled": set(), "bare": set()}
    for statement in server.statements:
        code = " ".join(line for line in statement.splitlines() if not line.startswith("--"))
        way = "labelled" if " OPTION (LABEL = 'onnx_pipeline: " in code else "bare"
        kinds[way].add(re.match(r"CREATE (EXTERNAL )?TABLE|\w+", code)[0])
    assert kinds == {
        "labelled": {"SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "CREATE EXTERNAL TABLE"},
        "bare": {"connect", "IF", "BEGIN", "COMMIT", "CREATE TABLE"},
    }


def test_fabric_has_its_own_types_and_no_layout(server):
    pool = synapse_on(server, made=FabricPool)
    load(pool, slice_of(rows_of(0, 10, 1.0)))
    pool.register_model("scoring", "ab" * 32, b"model", "{}")
    # Casts take any type; tables do not: https://learn.microsoft.com/fabric/data-warehouse/data-types
    tables = "\n".join(text for text in server.statements if "CREATE TABLE" in text)
    assert "onnx_scoring_log" in tables
    assert "onnx_models" in tables
    for word in ("DISTRIBUTION", "HEAP", "COLUMNSTORE", "NVARCHAR(", "DATETIMEOFFSET"):
        assert word not in tables
    # Also in a warehouse that was made case-insensitive, keys of partitions differ by case.
    assert set(re.findall(r"COLLATE (\w+)", tables)) == {"Latin1_General_100_BIN2_UTF8"}
    assert "CREDENTIAL" not in "\n".join(server.statements)
    schema = pa.schema([*STAGED, ("at", pa.timestamp("us", "UTC"))])
    create, key = pool.target_statements(target_of(schema))
    assert "[at] DATETIME2(6)" in create
    assert "NVARCHAR" not in create
    assert "NOT ENFORCED" in key


def test_a_pool_without_a_staging_place_says_so(server):
    pool = SynapsePool(ADDRESS, driver=ImitatedDriver(server), retries=Retries())
    with pytest.raises(SpecError, match=r"add \?staging=az://<container>/<folder>"):
        load(pool, slice_of(rows_of(0, 1, 1.0)))


def test_an_unavailable_pool_stays_one(server):
    server.fault = Fault(1)
    with pytest.raises(PoolUnavailableError):
        synapse_on(server).waiting_at_most(1).scoring_log("scoring")
