"""Whether a pool answers PREDICT at all: asked by a model of one node over a row that is no table's."""

from onnx_pipeline.pools.base import Pool

__all__ = ["refused"]

_answers: set[str] = set()
"""Pools that answered in this process. A pool that refused is asked again: somebody may have switched it on."""
_KINDS = {
    "duckdb": "DuckDB has no PREDICT",
    "mssql": "PREDICT of SQL Server and Managed Instance takes models of RevoScale alone, and Azure SQL has none",
    "fabric": "a Fabric Warehouse has no PREDICT in T-SQL",
}


def refused(pool: Pool) -> str | None:
    """Why PREDICT does not run there; None where it does. Raises PoolError where the pool cannot be asked now."""
    if pool.kind != "synapse":
        return _KINDS.get(pool.kind, f"pools of the kind {pool.kind} have no PREDICT")
    if pool.display_name in _answers:
        return None
    from onnx_pipeline.pools.synapse.pool import SynapsePool
    from onnx_pipeline.pools.synapse.predict import refusal

    assert isinstance(pool, SynapsePool)
    why = refusal(pool)
    if why is None:
        _answers.add(pool.display_name)
        return None
    return f"{pool.display_name} does not answer PREDICT ({why})"
