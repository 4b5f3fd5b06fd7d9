"""A model larger than the pool's limit of memory: registered, and no load after it stumbles over it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools import open_pool
from onnx_pipeline_tests.pools.imitation import Fault, Server
from onnx_pipeline_tests.pools.test_models_table import pool_on

BYTES = np.random.default_rng(0).bytes(60 * 2**20)
SHA256 = hashlib.sha256(BYTES).hexdigest()


def stored(file: Path) -> list[tuple[str, str]]:
    """What DuckDB itself reads there, by name and sha256."""
    with duckdb.connect(str(file)) as connection:
        rows = connection.execute("SELECT name, model FROM onnx_models ORDER BY id").fetchall()
    return [(name, hashlib.sha256(data).hexdigest()) for name, data in rows]


def test_a_model_as_large_as_the_limit_is_registered_and_so_is_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "pool.duckdb"
    pool = open_pool(f"duckdb:///{file}?memory_limit=64MB")
    assert pool.register_model("large", SHA256, BYTES, "{}") == 1
    small = hashlib.sha256(b"small").hexdigest()
    assert pool.register_model("small", small, b"small", "{}") == 2
    with pool.connect("another use") as connection:  # type: ignore[attr-defined]
        assert connection.execute("SELECT current_setting('memory_limit')").fetchall() == [("61.0 MiB",)]
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert stored(file) == [("large", SHA256), ("small", small)]
    assert not file.with_suffix(".duckdb.wal").exists()


def test_a_pool_whose_log_holds_a_large_model_is_opened(tmp_path: Path) -> None:
    """A process that died after the commit leaves the model in DuckDB's log, which does not replay within the limit."""
    file = tmp_path / "pool.duckdb"
    (tmp_path / "model").write_bytes(BYTES)
    died = (
        "import os, sys, duckdb; c = duckdb.connect(sys.argv[1]);"
        "c.execute('CREATE TABLE onnx_models (id BIGINT, name VARCHAR, sha256 VARCHAR, model BLOB, created_at TIMESTAMP, signature VARCHAR, form VARCHAR)');"
        "c.execute('CHECKPOINT'); c.execute(\"SET wal_autocheckpoint = '1TB'\");"
        "c.execute('INSERT INTO onnx_models VALUES (1, $1, $1, $2, NULL, $1, NULL)', ['large', open(sys.argv[2], 'rb').read()]);"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", died, str(file), str(tmp_path / "model")], check=False)
    assert Path(f"{file}.wal").stat().st_size > len(BYTES)
    with pytest.raises(duckdb.OutOfMemoryException):
        duckdb.connect(str(file), config={"memory_limit": "64MB"})
    pool = open_pool(f"duckdb:///{file}?memory_limit=64MB")
    with pool.connect("reading") as connection:  # type: ignore[attr-defined]
        assert connection.execute("SELECT name FROM onnx_models").fetchall() == [("large",)]
    assert stored(file) == [("large", SHA256)]


@pytest.mark.parametrize("kind", ["mssql", "fabric"])
def test_a_server_that_refuses_a_large_model_is_told_apart(server: Server, kind: str) -> None:
    pool = pool_on(server, kind)
    pool.register_model("small", SHA256, b"small", "{}")
    tried = len(server.statements)
    pool.register_model("another", "ab" * 32, b"small", "{}")
    last = next(
        index
        for index, statement in enumerate(server.statements[tried:], start=1)
        if statement.lstrip().upper().startswith("INSERT")
    )
    server.fault = Fault(at=len(server.statements) + last, number=8152)
    with pytest.raises(PoolError, match=r"The model has 9,437,184 bytes: VARBINARY\(MAX\) holds"):
        pool.register_model("large", "cd" * 32, BYTES[: 9 * 2**20], "{}")
