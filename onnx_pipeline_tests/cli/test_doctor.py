"""`onnx-pipeline doctor`, as a person and as a script types it."""

import hashlib
import json
from pathlib import Path

import pytest

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.tsql import pool
from onnx_pipeline.sample import MODELS
from onnx_pipeline_tests import needs
from onnx_pipeline_tests.cli.conftest import Command

MODEL = str(MODELS / "readmission.onnx")


def test_doctor_shows_every_engine_and_what_the_pool_offers(
    command: Command, outside: None, project_home: Path
) -> None:
    done = command("doctor", MODEL)
    assert done.code == 0, done.error
    for line in (
        "onnxruntime here yes",
        "remote here yes where a service has it",
        "sql pool yes",
        "house_sql pool yes",
    ):
        assert line in " ".join(done.out.split()), line
    assert "duckdb:pool.duckdb offers" in done.out and "snapshot isolation" in done.out
    assert "can run it: onnxruntime, remote, sql, spark, house_sql, house_stream" in done.out
    assert not any(project_home.rglob("*.duckdb"))


def test_doctor_as_json(command: Command) -> None:
    done = command("doctor", MODEL, "--json")
    found = json.loads(done.out)
    assert found["model"] == {"uri": MODEL, "sha256": hashlib.sha256(Path(MODEL).read_bytes()).hexdigest()}
    assert found["pool"] == {"name": "duckdb:pool.duckdb", "kind": "duckdb"}
    by_kind = {row["engine"]: row for row in found["engines"]}
    assert by_kind["sql"] == {"engine": "sql", "runs": "pool", "can_run": "yes", "where": "", "reasons": []}
    assert {"name": "snapshot isolation", "value": True, "known": True, "why": ""} in found["offers"]


def test_doctor_exits_with_1_where_the_engine_that_is_asked_for_cannot_run_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx_pipeline.engines.sql import engine

    assert command("doctor", MODEL, "--engine", "sql").code == 0
    monkeypatch.setattr(engine, "OPERATORS", {})
    done = command("doctor", MODEL, "--engine", "sql", "--json")
    assert done.code == 1
    (row,) = json.loads(done.out)["engines"]
    assert row["can_run"] == "no" and "has no form in SQL" in row["reasons"][0]["why"]
    assert "engine: {kind: onnxruntime}" in row["reasons"][0]["remedy"]
    shown = command("doctor", MODEL, "--engine", "sql")
    assert shown.code == 1 and "no engine can run it here" in shown.out
    assert command("doctor", MODEL).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.onnx"], "ModelNotFoundError: no model lies at nowhere.onnx"),
        (
            ["garbage.onnx"],
            "InvalidModelError: garbage.onnx is not an ONNX model, or is truncated: 7 bytes do not parse",
        ),
        (["empty.onnx"], "InvalidModelError: empty.onnx is empty (0 bytes)"),
        ([MODEL, "--engine", "sqll"], "SpecError: there is no engine 'sqll'; did you mean 'sql'?"),
        ([MODEL, "--pool", "postgres://a"], "SpecError: pool URL with scheme 'postgres' names no kind of pool"),
        ([MODEL, "--pool", "mssql+pyodbc://nobody"], "names no server or no database"),
    ],
)
def test_bad_input_is_one_clear_message(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("garbage.onnx").write_bytes(b"garbage")
    Path("empty.onnx").touch()
    done = command("doctor", *arguments)
    assert done.code == 1 and told in done.error
    assert "Traceback" not in done.error and done.out == ""


def test_a_server_that_does_not_answer_is_named_and_its_password_is_not(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.driver("mssql_python")
    monkeypatch.setattr(pool, "LOGIN_SECONDS", 2)  # The driver knocks at a closed port for all of them.
    done = command("doctor", MODEL, "--pool", "mssql+mssqlpython://scorer:Secret_99@127.0.0.1:1/warehouse?encrypt=no")
    assert done.code == 1
    assert (
        "PoolUnavailableError: mssql:127.0.0.1:1/warehouse, asking what it offers: the connection broke" in done.error
    )
    assert "Secret_99" not in done.error + done.out


def test_a_pool_that_refuses_to_answer_ends_the_command_with_its_words(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: object) -> None:
        raise PoolError("duckdb:pool.duckdb: no")

    monkeypatch.setattr(DuckDBPool, "offers", refuses)
    done = command("doctor", MODEL)
    assert done.code == 1 and "PoolError: duckdb:pool.duckdb: no" in done.error
