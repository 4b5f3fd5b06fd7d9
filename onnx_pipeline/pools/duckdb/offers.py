"""What a DuckDB pool is asked for. The file is not opened: whoever has it open would be waited for."""

import os

import duckdb

from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools.duckdb.pool import DuckDBPool
from onnx_pipeline.pools.offers import Offer, Offers

__all__ = ["ask"]


def ask(pool: DuckDBPool) -> Offers:
    """What shows without opening it."""
    none = "DuckDB runs no external scripts"
    return Offers(
        [
            Offer(what.VERSION, f"DuckDB {duckdb.__version__}"),
            _file(pool),
            Offer(what.SNAPSHOT, True),
            Offer(what.PREDICT, False, "DuckDB has no such function"),
            Offer(what.LANGUAGES, False, none),
            Offer(what.EXTERNAL_SCRIPTS, False, none),
        ]
    )


def _file(pool: DuckDBPool) -> Offer:
    path = pool.path
    if not path.exists():
        return Offer(what.WRITABLE, "it does not stand yet: `onnx-pipeline sample` makes one with sample data")
    if not path.is_file():
        return Offer(what.WRITABLE, False, f"{path} is no file")
    if not os.access(path, os.R_OK | os.W_OK):
        return Offer(what.WRITABLE, False, f"this user may not read and write {path}")
    return Offer(what.WRITABLE, "stands, and this user may read and write it")
