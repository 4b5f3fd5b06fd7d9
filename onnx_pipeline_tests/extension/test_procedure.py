"""`sp_onnx_scoring` on a server: what it would run. Needs no external language, and says so where it is skipped.

The statement is looked at and not run, and what a query would give is a table of the test: servers in the T-SQL dialect
that have no external languages can run this too.
"""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.scripts import statements_of
from onnx_pipeline.pools.tsql.connections import parse_url
from onnx_pipeline.pools.tsql.pool import MssqlPool

URL = os.environ.get("ONNX_PIPELINE_TEST_MSSQL")
pytestmark = pytest.mark.skipif(
    URL is None, reason="ONNX_PIPELINE_TEST_MSSQL=mssql+... names a server to try the procedure on"
)

SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float", "shape": [None, 2]}],
    "outputs": [
        {"name": "label", "dtype": "string", "shape": [None], "labels": None},
        {"name": "p", "dtype": "float", "shape": [None, 3], "labels": ["a", "b'", "c]"]},
        {"name": "raw", "dtype": "int64", "shape": [None, 2], "labels": None},
        {"name": "s", "dtype": "double", "shape": [None, 1], "labels": None},
    ],
}
SINGLE = {
    "inputs": [{"name": name, "dtype": "float", "shape": [None, 1]} for name in ("a", "b")]
    + [{"name": "when", "dtype": "int64", "shape": [None]}],
    "outputs": [{"name": "flag", "dtype": "bool", "shape": [None], "labels": None}],
}
UNKNOWN = {"inputs": [{"name": "x", "dtype": "float", "shape": [None, None]}], "outputs": SINGLE["outputs"]}
MODELS = [
    ("a", None, SIGNATURE), ("a", None, SINGLE), ("a", None, UNKNOWN), ("b", "normalised", UNKNOWN),
    ("b", "normalised", SIGNATURE), ("b", "scalar inputs", SINGLE), ("c", "normalised", SINGLE),
]  # fmt: skip
"""sha256, form and signature; the ids count from 1."""
GIVEN = [("id", "bigint"), ('when ]"', "datetime"), ("a", "real"), ("b", "real")]


@pytest.fixture(scope="module")
def pool() -> Iterator[MssqlPool]:
    """A database with models, and the procedure, which shows what it would run."""
    assert URL is not None
    name = f"onnx_procedure_{uuid.uuid4().hex[:12]}"
    server = MssqlPool(parse_url(URL))
    with server.session("making a database") as session:
        session.execute(f"CREATE DATABASE {name}")
    address = parse_url(URL)
    pool = MssqlPool(replace(address, database=name))
    folder = paths.sql_folder() / "sqlserver"
    with pool.session("preparing") as session:
        for statement in statements_of(folder.joinpath("onnx_models.sql").read_text(encoding="utf-8")):
            session.execute(statement)
        for number, (sha256, form, signature) in enumerate(MODELS, start=1):
            values = [number, sha256, json.dumps(signature), form]
            session.execute("INSERT INTO onnx_models VALUES (?, N'm', ?, 0x01, '2026-01-01', ?, ?)", values)
        session.execute(
            "CREATE TABLE described (column_ordinal INT, name NVARCHAR(128), system_type_name NVARCHAR(256), "
            "is_hidden BIT, error_message NVARCHAR(4000))"
        )
        for place, (column, kind) in enumerate(GIVEN, start=1):
            session.execute("INSERT INTO described VALUES (?, ?, ?, 0, NULL)", [place, column, kind])
        (procedure,) = statements_of(folder.joinpath("sp_onnx_scoring.sql").read_text(encoding="utf-8"))
        for found, instead in (
            ("CREATE OR ALTER", "CREATE"),
            ("sys.dm_exec_describe_first_result_set(@input_query, NULL, 0)", "described"),
        ):
            assert found in procedure
            procedure = procedure.replace(found, instead)
        beginning, last, _ = procedure.rpartition("    EXEC sp_executesql")
        assert last
        session.execute(f"{beginning}    SELECT @statement, @script\nEND")
    yield pool
    with server.session("dropping a database") as session:
        session.execute(f"DROP DATABASE {name}")


def built(pool: MssqlPool, arguments: str) -> tuple[list[str], str, str]:
    """The columns of RESULT SETS, the script, and the statement."""
    with pool.session("asking") as session:
        ((statement, script),) = session.rows(f"EXEC sp_onnx_scoring @input_query = N'SELECT ...', {arguments}")
    return statement.partition("RESULT SETS ((")[2].removesuffix("))").split(", "), script, statement


OUTPUTS = ["[label] NVARCHAR(4000) NULL", "[p_a] REAL NULL", "[p_b'] REAL NULL", "[p_c]]] REAL NULL", "[raw_0] BIGINT NULL",
           "[raw_1] BIGINT NULL", "[s] FLOAT NULL"]  # fmt: skip


def test_the_first_columns_are_keys_and_the_result_set_follows_the_signature(pool: MssqlPool) -> None:
    columns, script, statement = built(pool, "@model_id = 1")
    assert columns == ["[id] bigint NULL", '[when ]]"] datetime NULL', *OUTPUTS]
    assert script == 'keys = "id", "when ]"""\n'
    assert "@parallel = 1," in statement and "@language = N'ONNX'" in statement


@pytest.mark.parametrize(
    ("arguments", "columns", "script"),
    [
        ("@model_id = 1, @keys = N'[]'", OUTPUTS, ""),
        ("@model_id = 2", ["[id] bigint NULL", "[flag] BIT NULL"], 'keys = "id"\n'),
        ("@model_id = 3, @keys = N'[\"b\", \"id\"]'", ["[b] real NULL", "[id] bigint NULL", "[flag] BIT NULL"], 'keys = "b", "id"\n'),
        (
            "@model_id = 1, @keys = N'[\"id\"]', @outputs = N'[\"s\", \"p\"]', @options = N'nulls = error'",
            ["[id] bigint NULL", "[s] FLOAT NULL", "[p_a] REAL NULL", "[p_b'] REAL NULL", "[p_c]]] REAL NULL"],
            'keys = "id"\noutputs = "s", "p"\nnulls = error',
        ),
    ],
)  # fmt: skip
def test_keys_and_outputs_are_chosen(pool: MssqlPool, arguments: str, columns: list[str], script: str) -> None:
    assert built(pool, arguments)[:2] == (columns, script)


def test_the_sha256_of_the_original_names_the_form_that_runs_and_of_several_the_last(pool: MssqlPool) -> None:
    columns, script, _ = built(pool, "@sha256 = N'b'")
    assert (columns, script) == built(pool, "@model_id = 5")[:2] == built(pool, "@model_id = 1")[:2]


def test_one_process_is_asked_for_by_parallel_0(pool: MssqlPool) -> None:
    assert "@parallel = 0," in built(pool, "@model_id = 1, @parallel = 0")[2]


def test_null_means_the_default(pool: MssqlPool) -> None:
    nulls = ", ".join(f"@{name} = NULL" for name in ("keys", "outputs", "options", "parallel"))
    assert built(pool, f"@model_id = 1, {nulls}") == built(pool, "@model_id = 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("@model_id = 9", "There is no model 9"),
        ("@sha256 = N'a'", "There is no normalised form of model a that you may read"),
        ("@sha256 = N'b', @model_id = 5", "Name one model"),
        ("@keys = NULL", "Name one model"),
        ("@model_id = 1, @keys = N'[\"nobody\"]'", "A key is no column of the input query"),
        ("@model_id = 1, @outputs = N'[\"nothing\"]'", "No result can be made of the outputs"),
        ("@model_id = 3", "name the key columns"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_so(pool: MssqlPool, arguments: str, message: str) -> None:
    with pytest.raises(PoolError) as refused:
        built(pool, arguments)
    assert message in str(refused.value)
