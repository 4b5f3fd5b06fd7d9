"""One module per database's SQL, and which of them a pool speaks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from onnx_pipeline.base.imports import imported

if TYPE_CHECKING:
    from onnx_pipeline.engines.sql.dialects.base import SqlDialect

__all__ = ["DIALECTS", "dialect_of"]

DIALECTS: Mapping[str, str] = MappingProxyType({
    "duckdb": "onnx_pipeline.engines.sql.dialects.duckdb:DuckDBDialect",
    "mssql": "onnx_pipeline.engines.sql.dialects.tsql:TsqlDialect",
})  # fmt: skip
"""Kind of pool → `module:Class`."""


def dialect_of(pool: str) -> "SqlDialect":
    """The SQL of a kind of pool. Raises KeyError for one that has none here."""
    made: SqlDialect = imported(DIALECTS[pool])()
    return made
