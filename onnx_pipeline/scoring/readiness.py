"""Whether a scoring can run, as far as that shows without reading a row: what `pending` and `run` ask first.

`validate` asks more, and reports everything that it finds.
"""

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines import engine_of
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["ready_plan", "refuse_unsupported"]


def ready_plan(spec: ScoringSpec, pool: Pool, store: ArtifactStore) -> ScoringPlan:
    """How the scoring would go with the model that lies at its URI now; raises what keeps it from going.

    Nothing is kept, made or scored.
    """
    plan = ScoringPlan(spec, model_origin(spec).look(store, RuntimeOptions()), pool.source(spec))
    refuse_unsupported(plan, pool)
    pool.check_target(plan.target)
    return plan


def refuse_unsupported(plan: ScoringPlan, pool: Pool) -> None:
    """Raise SpecError where the engine cannot run the model, or the pool lacks what it needs: before a row moves."""
    spec = plan.spec
    engine = engine_of(type(spec.engine))
    reasons = engine.unfit(plan.task, pool) or engine.lacking(spec.engine, pool)
    if reasons:
        told = "; ".join(f"{reason.why}: {reason.remedy}" for reason in reasons)
        raise SpecError(
            f"{spec.scoring}: the engine `{spec.engine.kind}` cannot run this model, since {told}. Nothing was scored."
        )
