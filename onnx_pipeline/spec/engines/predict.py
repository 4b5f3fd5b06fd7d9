"""The options of the engine `predict`: it has none, since the pool runs the model by itself."""

from typing import ClassVar, Literal

from pydantic import Field

from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["PredictOptions"]


class PredictOptions(EngineOptions):
    """A Synapse dedicated SQL pool scores by itself: its function PREDICT runs the model."""

    kind: Literal["predict"] = Field(
        "predict", description="T-SQL's PREDICT, on a Synapse dedicated SQL pool that answers it."
    )

    engine: ClassVar[str] = "onnx_pipeline.engines.predict.engine:PredictEngine"
    runs: ClassVar[Literal["here", "pool", "cluster"]] = "pool"
