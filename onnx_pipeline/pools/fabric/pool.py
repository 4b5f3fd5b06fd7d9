"""Microsoft Fabric's Warehouse: what it does otherwise than Synapse."""

from typing import Any, ClassVar

import sqlalchemy as sa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.pools.fabric.statements import (
    EXACT_COLLATION,
    by_code_point,
    create_staging,
    create_target,
    exact_text,
    target_column,
)
from onnx_pipeline.pools.records import Target
from onnx_pipeline.pools.synapse.pool import SynapsePool
from onnx_pipeline.pools.tsql.connections import Address
from onnx_pipeline.pools.tsql.tables import target_table

__all__ = ["FabricPool"]


class FabricPool(SynapsePool):
    """A warehouse named by `fabric://abc123.datawarehouse.fabric.microsoft.com/warehouse?staging=az://container/folder`.

    It reads storage as whoever runs the statement, keeps text as UTF-8, and extracts over TDS alone.
    """

    kind = "fabric"
    sql_folder = "fabric"
    text_is_utf8 = True
    exact_collation: ClassVar[str] = EXACT_COLLATION
    storage_identity: ClassVar[str | None] = None
    second_digits: ClassVar[int] = 6

    def __init__(self, address: Address, **more: Any) -> None:
        super().__init__(address, **more)
        if self.extracts_to_storage:
            raise SpecError(f"{self.display_name}: Fabric's Warehouse has no `extract=cetas`; leave it out")

    def exact_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return exact_text(column)

    def by_code_point(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return by_code_point(column)

    def target_statements(self, target: Target) -> list[Any]:
        return create_target(target, target_table(target))

    def column_text(self, column: sa.Column[Any]) -> str:
        return target_column(column)

    def staging_statement(self, table: sa.Table) -> Any:
        return create_staging(table)
