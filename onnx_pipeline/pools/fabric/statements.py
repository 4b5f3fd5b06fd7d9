"""Tables as Microsoft Fabric's Warehouse wants them: its own types, no layout to choose, keys added afterwards.

https://learn.microsoft.com/fabric/data-warehouse/data-types
"""

from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIMEOFFSET, NVARCHAR, VARCHAR

from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.synapse.statements import column_lines
from onnx_pipeline.pools.tsql.dialect import quoted, sql_type

__all__ = ["create_staging", "create_target", "target_column"]

_MOMENT = sql_type(pa.timestamp("us"), column="a time with zone")


def create_target(target: Target, table: sa.Table) -> list[str]:
    """The target and its key, which the pool does not enforce: the load has checked it."""
    key = ", ".join(quoted(name) for name in ("partition_key", *target.key))
    constraint = (
        f"ALTER TABLE {quoted(table.schema, table.name)} ADD CONSTRAINT {quoted(f'pk_{table.name}'[:128])} "
        f"PRIMARY KEY NONCLUSTERED ({key}) NOT ENFORCED"
    )
    return [create_staging(table), constraint]


def create_staging(table: sa.Table) -> str:
    """A table of these columns."""
    return f"CREATE TABLE {quoted(table.schema, table.name)} (\n{column_lines(table.columns, _stored)}\n)"


def target_column(column: sa.Column[Any]) -> str:
    """A column of a target."""
    return column_lines([column], _stored).strip()


def _stored(kind: Any) -> Any:
    if isinstance(kind, NVARCHAR):
        # Its text is UTF-8.
        return VARCHAR(None if kind.length is None else 4 * kind.length)
    return _MOMENT if isinstance(kind, DATETIMEOFFSET) else kind
