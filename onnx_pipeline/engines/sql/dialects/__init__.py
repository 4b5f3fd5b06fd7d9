"""How each database writes an expression: the standard's way in `base`, and per database what differs."""

from collections.abc import Mapping
from types import MappingProxyType

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.base.imports import imported
from onnx_pipeline.engines.sql.dialects.base import SqlDialect

__all__ = ["DIALECTS", "dialect_of"]

_HERE = "onnx_pipeline.engines.sql.dialects"

DIALECTS: Mapping[str, str] = MappingProxyType({
    "duckdb": f"{_HERE}.duckdb:DuckDBDialect",
    "mssql": f"{_HERE}.tsql:TsqlDialect",
    "synapse": f"{_HERE}.synapse:SynapseDialect",
    "fabric": f"{_HERE}.fabric:FabricDialect",
})  # fmt: skip
"""Kind of pool → its dialect."""


def dialect_of(kind: str) -> SqlDialect:
    """The dialect of a kind of pool. Raises SpecError for one that there is not."""
    if kind not in DIALECTS:
        raise SpecError(f"there is no dialect {kind!r}; {closest(kind, list(DIALECTS))}")
    made: SqlDialect = imported(DIALECTS[kind])()
    return made
