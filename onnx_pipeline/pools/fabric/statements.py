"""Tables as Microsoft Fabric's Warehouse wants them: its own types, no layout to choose, keys added afterwards.

https://learn.microsoft.com/fabric/data-warehouse/data-types
"""

from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIMEOFFSET, NVARCHAR, VARCHAR

from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.synapse.statements import column_lines
from onnx_pipeline.pools.tsql.dialect import BINARY_COLLATION, quoted, sql_type

__all__ = ["EXACT_COLLATION", "by_code_point", "create_staging", "create_target", "exact_text", "target_column"]

EXACT_COLLATION = "Latin1_General_100_BIN2_UTF8"
"""Compares code points. A warehouse has it unless it was made case-insensitive, and takes it in every statement.

https://learn.microsoft.com/fabric/data-warehouse/collation
"""

_COLLATIONS = {name.casefold(): name for name in (EXACT_COLLATION, "Latin1_General_100_CI_AS_KS_WS_SC_UTF8")}
"""Those that a column may have; a query may give its columns others."""

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
        length = None if kind.length is None else 4 * kind.length
        exact = kind.collation == BINARY_COLLATION
        return VARCHAR(length, collation=EXACT_COLLATION if exact else _COLLATIONS.get(str(kind.collation).casefold()))
    return _MOMENT if isinstance(kind, DATETIMEOFFSET) else kind


def exact_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text by its code points, without the blanks at its end. All text is UTF-8 there, and needs no other type first."""
    return sa.func.rtrim(column).collate(EXACT_COLLATION)


def by_code_point(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A text without its collation."""
    return column.collate(EXACT_COLLATION)
