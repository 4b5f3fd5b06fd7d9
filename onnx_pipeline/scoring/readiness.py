"""Whether a scoring can run, as far as that shows without reading a row: what `pending` and `run` ask first.

`validate` asks more, and reports everything that it finds.
"""

from collections.abc import Sequence

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.engines import Reason, engine_of
from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["objections", "ready_plan", "refuse_unsupported"]


def ready_plan(spec: ScoringSpec, pool: Pool, store: ArtifactStore) -> ScoringPlan:
    """How the scoring would go with the model that lies at its URI now; raises what keeps it from going.

    Nothing is kept, made or scored.
    """
    plan = ScoringPlan(spec, model_origin(spec).look(store, RuntimeOptions()), pool.source(spec))
    refuse_unsupported(plan, pool)
    pool.check_target(plan.target)
    return plan


def objections(plan: ScoringPlan, pool: Pool) -> Sequence[Reason]:
    """Why the scoring's engine would not run: for the model's sake, or else for what the pool lacks."""
    options = plan.spec.engine
    engine = engine_of(type(options))
    return engine.unfit(plan.task, pool) or engine.lacking(options, pool)


def refuse_unsupported(plan: ScoringPlan, pool: Pool) -> None:
    """Raise SpecError where the engine cannot run the model, or the pool lacks what it needs: before a row moves."""
    spec, reasons = plan.spec, objections(plan, pool)
    if reasons:
        told = "; ".join(f"{reason.why}: {reason.remedy}" for reason in reasons)
        raise SpecError(
            f"{spec.scoring}: the engine `{spec.engine.kind}` cannot run this model, since {told}. Nothing was scored."
        )
