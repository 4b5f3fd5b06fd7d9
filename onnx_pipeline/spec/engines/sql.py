"""The options of the engine `sql`: it has none, since the pool itself says what SQL it speaks."""

from typing import ClassVar, Literal

from pydantic import Field

from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["SqlOptions"]


class SqlOptions(EngineOptions):
    """The pool scores by itself: the model becomes one SELECT, and no row moves through this process."""

    kind: Literal["sql"] = Field("sql", description="The model as one SELECT that the pool runs by itself.")

    engine: ClassVar[str] = "onnx_pipeline.engines.sql.engine:SqlEngine"
    runs: ClassVar[Literal["here", "pool", "cluster"]] = "pool"
