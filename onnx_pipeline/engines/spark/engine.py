"""The engine `spark`: the slice in parts, one task for each, and what they wrote as the slice's landing."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parts import PartPlan
from onnx_pipeline.cluster.shipping import package
from onnx_pipeline.cluster.spark import carry_out, is_connect, parallelism
from onnx_pipeline.cluster.work import Answer, settled
from onnx_pipeline.engines.artifacts import NEAREST, NO_ARTIFACT, artifact_of
from onnx_pipeline.engines.base import Host, PoolEngine, Reason, Task
from onnx_pipeline.engines.missing import never_missing
from onnx_pipeline.engines.spark.session import master, session
from onnx_pipeline.engines.spark.submit import submitted
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.pools.landing import Landing
from onnx_pipeline.spec.engines.spark import SparkOptions

__all__ = ["SparkEngine"]

_PARTS_PER_CORE = 3
"""So that cores that are done early take over."""
_SUBMITTED_PARTS = 64
"""Where nobody here knows how many tasks the cluster runs at once."""
_SAY_SECONDS = 5.0


class SparkEngine(PoolEngine[SparkOptions]):
    """Scores on a cluster, by this package's own code in each task. No row passes through this process."""

    proviso = "where a Spark cluster is"

    def __init__(self, options: SparkOptions, task: Task, host: Host) -> None:
        super().__init__(options, task, host)
        self._model = artifact_of(options, task)
        if options.submit is None:
            master()
        self._facts: dict[str, Any] = {}

    @classmethod
    def unsupported(cls, model: PlannedModel, pool: Pool | None) -> Sequence[Reason]:
        if not isinstance(model, OnnxModel):
            return (NO_ARTIFACT,)
        if pool is not None and not pool.gives_parts:
            return (Reason(f"a pool of the kind {pool.kind} gives its rows to no cluster", NEAREST),)
        return ()

    def look(self) -> str:
        if self.options.submit is not None:
            return ""
        spark = session()
        return f"Spark {spark.version}, {parallelism(spark)} tasks at once"

    def facts(self) -> Mapping[str, Any]:
        return self._facts

    def land(self, landing: Landing) -> None:
        wanted = _SUBMITTED_PARTS if self.options.submit is not None else parallelism(session()) * _PARTS_PER_CORE
        with landing.hand_out(most=self.options.part_rows, wanted=wanted) as plan:
            answers = self._answers(plan, landing.marks) if plan.parts else []
            written = settled(answers, len(plan.parts))
            landing.adopt(plan, written)
        self._facts = {
            "tasks": len(answers),
            "task_seconds": round(sum(answer.seconds for answer in answers), 3),
            "bytes_written": sum(one.bytes for one in written),
            **self._about_session(),
        }

    def _answers(self, plan: PartPlan, marks: Sequence[str]) -> list[Answer]:
        task, model = self.task, self._model
        order = Order(
            model.describe(), task.binding, task.outputs, task.nulls, never_missing(model, task),
            marks if plan.marks is None else plan.marks, self.host.runtime, plan,
        )  # fmt: skip
        if self.options.submit is not None:
            place = str(plan.options["predictions"])
            return submitted(self.options.submit, order, model.normalised, place, say=self.host.say)
        told = _Told(plan.rows, self.host.say)
        return carry_out(session(), order, model.normalised, package(), on_tasks=told)

    def _about_session(self) -> dict[str, Any]:
        if self.options.submit is not None:
            return {}
        spark = session()
        shown: dict[str, Any] = {"spark": spark.version}
        if not is_connect(spark) and spark.sparkContext.uiWebUrl:
            shown["spark_ui"] = spark.sparkContext.uiWebUrl
        return shown


class _Told:
    """Says every few seconds how far a job is."""

    def __init__(self, rows: int, say: Any) -> None:
        self._rows = rows
        self._say = say
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_SECONDS:
            return
        self._said = now
        rows = self._rows * done // total
        speed = rows / (now - self._started)
        left = f", about {(self._rows - rows) / speed:,.0f} s left" if speed else ""
        told = f"Spark: {done:,} of {total:,} tasks, about {rows:,} of {self._rows:,} rows"
        self._say(f"{told}, {speed:,.0f} rows/s{left}")
