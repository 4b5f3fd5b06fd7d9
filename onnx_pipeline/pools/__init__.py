"""Databases that hold sources and targets: one folder per kind."""

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.imports import imported
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.records import Loaded, LogRow, SliceLoad, Source, Target

__all__ = ["Loaded", "LogRow", "Pool", "SliceLoad", "Source", "Target", "open_pool", "pool_class"]

_POOLS = {
    "duckdb": "onnx_pipeline.pools.duckdb.pool:DuckDBPool",
    "mssql": "onnx_pipeline.pools.tsql.pool:MssqlPool",
    "synapse": "onnx_pipeline.pools.synapse.pool:SynapsePool",
    "fabric": "onnx_pipeline.pools.fabric.pool:FabricPool",
}
"""By what the URL begins with."""

_DRIVERS = ("pyodbc", "mssqlpython")
"""What may follow a server's scheme: `mssql+pyodbc`."""


def pool_class(kind: str) -> type[Pool]:
    """The class of a kind of pool."""
    found: type[Pool] = imported(_POOLS[kind])
    return found


def open_pool(url: str) -> Pool:
    """The pool that a URL names.

    `duckdb:///data/pool.duckdb` is a file, relative to the project; four slashes make it absolute.
    `mssql+mssqlpython://`, `mssql+pyodbc://`, `synapse://` and `fabric://` name servers: see `connections`.
    """
    scheme = url.partition(":")[0]
    kind, _, driver = scheme.partition("+")
    if kind not in _POOLS or (driver and (driver not in _DRIVERS or kind == "duckdb")):
        raise SpecError(
            f"pool URL with scheme {scheme!r} names no kind of pool; there are: duckdb, mssql+mssqlpython, mssql+pyodbc, "
            "synapse, fabric"
        )
    pool: Pool = imported(_POOLS[kind]).from_url(url)
    return pool
