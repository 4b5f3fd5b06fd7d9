"""A pool as version 0.1.0 left it before its scoring log knew targets, settings and ways of partitioning.

`before/` is DuckDB's export of what `onnx-pipeline sample --days 4 --rows-per-day 25` and `onnx-pipeline run` made then, and
what staging held of one partition.
"""

import shutil
from pathlib import Path

import duckdb
import pytest

from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline_tests.cli.conftest import command  # noqa: F401 - a fixture

BEFORE = Path(__file__).parent / "before"


@pytest.fixture
def before(project_home: Path) -> DuckDBPool:
    """The pool, where the project expects it."""
    file = project_home / "data" / "pool.duckdb"
    file.parent.mkdir(exist_ok=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute((BEFORE / "schema.sql").read_text())
        for parquet in sorted(BEFORE.glob("*.parquet")):
            connection.execute(f'INSERT INTO "{parquet.stem}" SELECT * FROM read_parquet(?)', [str(parquet)])
    return DuckDBPool(file)


@pytest.fixture
def staged(project_home: Path) -> None:
    """Features and predictions of readmission for 2026-01-04, as that version staged them."""
    shutil.copytree(BEFORE / "staging", project_home / "data" / "staging")
