"""Databases that hold sources and targets: one module per kind."""

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Loaded, LogRow, SliceLoad, Source, Target

__all__ = ["Loaded", "LogRow", "Pool", "SliceLoad", "Source", "Target", "open_pool"]


def open_pool(url: str) -> Pool:
    """The pool that a URL names.

    `duckdb:///data/pool.duckdb` is a file, relative to the project; four slashes make it absolute.
    `mssql+mssqlpython://`, `mssql+pyodbc://` and `synapse://` name servers: see `connections`.
    """
    scheme = url.partition(":")[0]
    if scheme == "duckdb":
        from onnx_pipeline.pools.duckdb.pool import DuckDBPool

        return DuckDBPool.from_url(url)
    if scheme in ("mssql", "mssql+pyodbc", "mssql+mssqlpython"):
        from onnx_pipeline.pools.tsql.pool import MssqlPool

        return MssqlPool.from_url(url)
    if scheme in ("synapse", "synapse+pyodbc", "synapse+mssqlpython"):
        from onnx_pipeline.pools.synapse.pool import SynapsePool

        return SynapsePool.from_url(url)
    raise SpecError(
        f"pool URL with scheme {scheme!r} names no kind of pool; there are: duckdb, mssql+mssqlpython, mssql+pyodbc, "
        "synapse"
    )
