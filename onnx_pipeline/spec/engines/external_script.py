"""The options of engines that SQL Server runs in processes of its own, by `sp_execute_external_script`."""

from typing import ClassVar, Literal

from pydantic import Field

from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["ExternalScriptOptions"]


class ExternalScriptOptions(EngineOptions):
    """What the server is told of its processes; none of it decides a prediction."""

    runs: ClassVar[Literal["here", "pool", "cluster"]] = "pool"

    parallel: bool = Field(
        True, description="Whether the server may use several processes for one query (`@parallel`)."
    )
    rows_per_read: int = Field(
        100_000, ge=1, le=2_147_483_647, description="Rows in memory at once, for each process (`@r_rowsPerRead`)."
    )
