"""Microsoft Fabric's Warehouse: T-SQL whose text is UTF-8."""

from typing import Any, ClassVar

import sqlalchemy as sa

from onnx_pipeline.engines.sql.dialects.base import Sql
from onnx_pipeline.engines.sql.dialects.synapse import SynapseDialect
from onnx_pipeline.pools.fabric.statements import EXACT_COLLATION

__all__ = ["FabricDialect"]


class FabricDialect(SynapseDialect):
    """What Fabric does otherwise."""

    collation: ClassVar[str] = EXACT_COLLATION

    def as_unicode(self, written: Sql, wide: "sa.types.TypeEngine[Any]") -> Sql:
        """All text is UTF-8 there already, and no column is an NVARCHAR."""
        return written
