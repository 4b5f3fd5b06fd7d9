"""Microsoft Fabric's Warehouse: T-SQL whose text is UTF-8."""

from typing import ClassVar

from onnx_pipeline.engines.sql.dialects.synapse import SynapseDialect
from onnx_pipeline.pools.fabric.statements import EXACT_COLLATION

__all__ = ["FabricDialect"]


class FabricDialect(SynapseDialect):
    """What Fabric does otherwise."""

    collation: ClassVar[str] = EXACT_COLLATION
