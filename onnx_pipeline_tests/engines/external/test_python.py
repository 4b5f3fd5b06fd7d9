"""The engine `external_python`: whole scorings on an imitated SQL Server, whose Python is a process of its own."""

import datetime
import decimal
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from onnx_pipeline.base.errors import DataError, PoolError
from onnx_pipeline.engines import engine_of, open_engine
from onnx_pipeline.models import OnnxModel, RuntimeOptions
from onnx_pipeline.pools.tsql.dialect import national
from onnx_pipeline.scoring.load import load
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.slices import feature_slices, predict_slices
from onnx_pipeline.scoring.staging import Staging
from onnx_pipeline.spec.engines.external_python import ExternalPythonOptions
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.engines.external.as_python import ServersPython
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.pools.external_scripts import Call, ScriptError, Task, insert_exec
from onnx_pipeline_tests.pools.grounds import DuckDBGround, Ground, ImitatedGround
from onnx_pipeline_tests.pools.test_statements import assert_parses

BIG = 2**53


@pytest.fixture
def ground(servers_python: ServersPython, tmp_path: Path) -> ImitatedGround:
    ground = ImitatedGround("mssql", tmp_path)
    ground.server.languages["PYTHON"] = servers_python
    servers_python.chunks.clear()
    return ground


def score(
    ground: Ground, folder: Path, model: bytes, table: pa.Table | None, key: list[str], *, times: int = 1, **more: Any
) -> None:
    """Score a whole table, as the assets do it; `rows` where none is given."""
    if table is not None:
        ground.store("rows", table)
    options = {"kind": "external_python", **more.pop("engine", {})}
    given = {"name": "s", "onnx": "s.onnx", "source": "rows", "target": "scored", "key": key, "engine": options, **more}
    spec = ScoringSpec.model_validate(given)
    plan = ScoringPlan(spec, OnnxModel.from_bytes(model), ground.pool.source(spec))
    keys = list(plan.partitioning.keys())
    staging = Staging(folder / "staging")
    for _ in range(times):
        list(feature_slices(plan, ground.pool, staging, keys, say=print))
        with closing(open_engine(spec.engine, plan.task, RuntimeOptions())) as engine:
            list(predict_slices(plan, engine, ground.pool, staging, keys, say=print))
        list(load(plan, ground.pool, staging, keys, run_id="run-1"))


KEYS = {
    "number": pa.array([BIG, BIG + 1, -(2**63), 2**63 - 1, 0], pa.int64()),
    "short": pa.array([-(2**15), 2**15 - 1, 0, 1, 2], pa.int16()),
    "flag": pa.array([True, False, True, False, True]),
    "word": pa.array(["a", "A", " a ", "é 漢", ""]),
    "amount": pa.array([decimal.Decimal(f"12345678901234567890.12{each}") for each in range(5)], pa.decimal128(23, 3)),
    "day": pa.array([datetime.date(1, 1, 1 + each) for each in range(5)]),
    "at": pa.array([datetime.datetime(9999, 12, 31, 23, 59, 59, 999990 + each) for each in range(5)]),
    "moment": pa.array([datetime.time(0, 0, 0, each) for each in range(5)], pa.time64("us")),
}


@pytest.mark.parametrize("column", KEYS)
def test_a_key_of_every_type_arrives_with_its_own_prediction(
    column: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    table = pa.table({column: KEYS[column], "more": pa.array(range(5), pa.int32()), "x": pa.array([0.0, 1, 2, 3, 4])})
    score(ground, tmp_path, models.echo({"x": models.FLOAT}), table, [column, "more"])
    found = ground.query(f'SELECT "{column}", more, x_out FROM scored ORDER BY more')
    assert found == [(key, row, float(row)) for row, key in enumerate(KEYS[column].to_pylist())]


def test_what_changed_is_logged_as_it_stands_also_beside_nulls(ground: ImitatedGround, tmp_path: Path) -> None:
    changed = pa.array([None, datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), None])
    table = pa.table({"id": pa.array([1, 2, 3]), "x": pa.array([1.0, 2.0, 3.0]), "at": changed})
    model = models.echo({"x": models.FLOAT})
    score(ground, tmp_path, model, table, ["id"], source={"table": "rows", "changed": "at"})
    assert ground.query("SELECT source_rows, source_changed FROM onnx_scoring_log") == [
        (3, "2026-01-02T03:04:05.678901")
    ]


def test_integers_beyond_a_double_are_scored_as_they_are(ground: ImitatedGround, tmp_path: Path) -> None:
    values = [BIG + 1, -BIG - 1, 2**63 - 1, -(2**63), 7]
    table = pa.table(
        {"id": pa.array(range(5)), "x": pa.array(values, pa.int64()), "y": pa.array([1, 0, 255, 7, 9], pa.uint8())}
    )
    score(ground, tmp_path, models.echo({"x": models.INT64, "y": models.UINT8}), table, ["id"])
    assert ground.query("SELECT x_out, y_out FROM scored ORDER BY id") == list(
        zip(values, [1, 0, 255, 7, 9], strict=True)
    )


def test_rows_go_in_chunks_to_two_tasks_or_to_one(
    ground: ImitatedGround, servers_python: ServersPython, tmp_path: Path
) -> None:
    table = pa.table({"id": pa.array(range(10)), "x": pa.array([float(each) for each in range(10)])})
    model = models.echo({"x": models.FLOAT})
    wanted = [(each, float(each)) for each in range(10)]
    for parallel, chunks in ((True, [(1, 3), (1, 1), (0, 3), (0, 3)]), (False, [(0, 3), (0, 3), (0, 3), (0, 1)])):
        servers_python.chunks.clear()
        score(ground, tmp_path, model, table, ["id"], engine={"rows_per_read": 3, "parallel": parallel})
        assert servers_python.chunks == chunks
        assert ground.query("SELECT id, x_out FROM scored ORDER BY id") == wanted


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_slice_that_is_scored_again_stands_once(mode: str, ground: ImitatedGround, tmp_path: Path) -> None:
    table = pa.table({"id": pa.array(range(10)), "x": pa.array([float(each) for each in range(10)])})
    score(
        ground,
        tmp_path,
        models.echo({"x": models.FLOAT}),
        table,
        ["id"],
        times=1 if mode == "append" else 2,
        load_mode=mode,
    )
    assert ground.query("SELECT id, x_out, run_id FROM scored ORDER BY id") == [
        (each, float(each), "run-1") for each in range(10)
    ]


def test_what_the_script_says_reaches_whoever_runs_it_and_nothing_stands(
    ground: ImitatedGround, tmp_path: Path
) -> None:
    # `x` counts from 0, and the model's table has three rows.
    table = pa.table({"id": pa.array([1, 2]), "x": pa.array([1, 7], pa.int64())})
    with pytest.raises(
        DataError, match=r"'x' of the row with id = 2 holds 7, .*indices element out of data bounds, idx=7"
    ):
        score(ground, tmp_path, picked(), table, ["id"])
    assert not ground.tables() & {"scored", "onnx_scoring_log"}
    assert not [name for name in ground.tables() if name.startswith("onnx_landing")]


def picked() -> bytes:
    """`y [N]`: the x-th of three numbers."""
    node = models.helper.make_node("Gather", ["table", "x"], ["y"])
    return models.build(
        [node], [("x", models.INT64, [None])], [("y", models.FLOAT, [None])], {"table": np.array([1, 2, 3], np.float32)}
    )


def test_it_says_which_pools_and_languages_it_does_without(tmp_path: Path) -> None:
    model = OnnxModel.from_bytes(models.echo({"x": models.UINT64}))
    engine = engine_of(ExternalPythonOptions)
    assert engine.unsupported(model, None) == ()
    ((why, remedy),) = engine.unsupported(model, DuckDBGround(tmp_path).pool)
    assert why == "a pool of the kind duckdb runs no Python"
    assert "onnxruntime" in remedy
    (reason,) = engine.lacking(ExternalPythonOptions(), DuckDBGround(tmp_path).pool)
    assert reason.why == why
    for name in ("R", "java", "Python 3", "a'b"):
        with pytest.raises(ValidationError, match="neither R nor Java"):
            ExternalPythonOptions(language=name)


OFFERED = {
    "SQL Server 2022": ({}, None),
    "SQL Server 2017": ({"major": 14}, "version 14, engine edition 3\\) runs no Python, which takes SQL Server 2019"),
    "Azure SQL Database": ({"major": 12, "edition": 5}, "engine edition 5\\) runs no Python.* or Managed Instance"),
    "Managed Instance": ({"major": 12, "edition": 8, "installed": 0}, None),
    "no services": ({"installed": 0}, "Machine Learning Services are not installed.*docs/external-python.md"),
    "switched off": ({"enabled": 0}, "does not run external scripts: .*external scripts enabled', 1"),
    "no right": ({"may_run": 0}, "may run no external scripts: GRANT EXECUTE ANY EXTERNAL SCRIPT"),
}


@pytest.mark.parametrize("server", OFFERED)
def test_what_the_server_lacks_is_told_before_a_row_moves(server: str, ground: ImitatedGround) -> None:
    offered, lacking = OFFERED[server]
    ground.server.offers |= offered
    told = [
        f"{reason.why}: {reason.remedy}"
        for reason in engine_of(ExternalPythonOptions).lacking(ExternalPythonOptions(), ground.pool)
    ]
    assert bool(told) == (lacking is not None)
    assert lacking is None or re.search(lacking, told[0])


def test_a_python_of_ones_own_is_looked_for_by_its_name(ground: ImitatedGround, servers_python: ServersPython) -> None:
    engine, options = engine_of(ExternalPythonOptions), ExternalPythonOptions(language="myPython")
    ((why, remedy),) = engine.lacking(options, ground.pool)
    assert why.startswith("the external language myPython is not registered in this database")
    assert "CREATE EXTERNAL LANGUAGE" in remedy
    ground.server.languages["MYPYTHON"] = servers_python
    assert engine.lacking(options, ground.pool) == ()


class Saying:
    """A Python that fails."""

    def __init__(self, number: int, text: str) -> None:
        self.error = ScriptError(number, text)

    @contextmanager
    def task(self, call: Call, schema: pa.Schema, number: int, tasks: int) -> Iterator[Task]:
        raise self.error
        yield


@pytest.mark.parametrize(
    ("number", "text", "remedy"),
    [
        (39019, "ModuleNotFoundError: No module named 'onnxruntime'", "installs onnxruntime into the server's Python"),
        (39012, "Unable to communicate with the runtime for 'Python' script.", "ended early: docs/external-python.md"),
        (39021, "Unable to launch runtime for 'Python' script.", "does not start: docs/external-python.md"),
        (39023, "'sp_execute_external_script' is disabled on this instance", "external scripts enabled', 1"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    number: int, text: str, remedy: str, ground: ImitatedGround, tmp_path: Path
) -> None:
    ground.server.languages["PYTHON"] = Saying(number, text)
    table = pa.table({"id": pa.array([1]), "x": pa.array([1.0])})
    with pytest.raises(PoolError) as raised:
        score(ground, tmp_path, models.echo({"x": models.FLOAT}), table, ["id"])
    assert text.rstrip(".") in str(raised.value)
    assert remedy in str(raised.value)


SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "external_python.sql"


def test_every_statement_is_t_sql_and_reads_as_it_did(ground: ImitatedGround, tmp_path: Path) -> None:
    """`ONNX_PIPELINE_SNAPSHOTS=write` writes the snapshot anew; read the difference before you commit it."""
    kinds = {"x": pa.float64(), "n": pa.int64(), "i": pa.int32(), "flag": pa.bool_(), "word": pa.string()}
    dtypes = {"x": models.FLOAT, "n": models.INT64, "i": models.INT32, "flag": models.BOOL, "word": models.STRING}
    given = {"x": 1.5, "n": 3, "i": 2, "flag": True, "word": "a"}
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = pa.table({"id": [1], "at": [moment], **{name: pa.array([given[name]], kinds[name]) for name in kinds}})
    nulls = {"n": -7, "word": "it's ünknown"}
    engine = {"rows_per_read": 5_000, "threads": 2}
    source = {"table": "rows", "changed": "at"}
    score(ground, tmp_path, models.echo(dtypes), table, ["id"], engine=engine, nulls=nulls, source=source)
    (statement,) = (text for text in ground.server.statements if "sp_execute_external_script" in text)
    found = insert_exec(statement)
    for text in (statement, found.batch, found.values["input_query"]):
        assert_parses(text)
    told = re.sub(r"onnx_landing_\w+", "onnx_landing_...", statement)
    for long in (found.batch, found.values["script"]):
        told = told.replace(national(long), "N'...'")
    told = f"{told}\n\n-- the batch\n{found.batch}\n"
    if os.environ.get("ONNX_PIPELINE_SNAPSHOTS") == "write":
        SNAPSHOT.write_text(told, encoding="utf-8")
    assert told == SNAPSHOT.read_text(encoding="utf-8")
