"""The options of the engine `spark`."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from onnx_pipeline.spec.engines.options import EngineOptions

__all__ = ["SparkOptions"]


class SparkOptions(EngineOptions):
    """A Spark cluster scores, for partitions that are too large for one machine."""

    kind: Literal["spark"] = Field(
        "spark",
        description="A Spark cluster, which the environment variable `ONNX_PIPELINE_SPARK` names: `local[*]`, "
        "`spark://host:7077`, `yarn`, `k8s://...`, or `sc://host:15002` for Spark Connect.",
    )
    part_rows: int = Field(
        1_000_000,
        ge=1_000,
        description="Most rows of one task. There are more and smaller ones where a cluster runs that many at once.",
    )
    submit: Sequence[str] | None = Field(
        None,
        min_length=1,
        description="A command that submits the job instead of a session in the run: `[spark-submit, --master, "
        "yarn]`. The job and its arguments are put behind it.",
    )

    engine: ClassVar[str] = "onnx_pipeline.engines.spark.engine:SparkEngine"
    runs: ClassVar[Literal["here", "pool", "cluster"]] = "cluster"
    packages: ClassVar[tuple[str, ...]] = ("pyspark",)
    extra: ClassVar[str] = "onnx-pipeline[spark]"
