"""Azure Synapse's dedicated SQL pool: T-SQL as SQL Server 2017 reads it, as far as expressions go."""

from onnx_pipeline.engines.sql.dialects.tsql import TsqlDialect

__all__ = ["SynapseDialect"]


class SynapseDialect(TsqlDialect):
    """What Synapse does otherwise: nothing that a compiled model writes."""
