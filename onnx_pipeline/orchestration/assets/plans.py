"""The plans of this process: one per run and scoring, so that its assets agree and the source is asked once."""

from collections import OrderedDict

from onnx_pipeline.models.artifact_store import ArtifactStore
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["keep_plan", "plan_of_run"]

_KEPT = 64
"""A run of `score_all` takes one scoring after the other, asset by asset."""

_plans: OrderedDict[tuple[str, str], ScoringPlan] = OrderedDict()


def keep_plan(run_id: str, plan: ScoringPlan) -> None:
    """The plan that the later assets of a run take."""
    _plans[run_id, plan.spec.scoring] = plan
    while len(_plans) > _KEPT:
        _plans.popitem(last=False)


def plan_of_run(run_id: str, spec: ScoringSpec, pool: Pool, store: ArtifactStore) -> ScoringPlan:
    """The run's plan; made from the model that is current where no asset of the run made it in this process."""
    found = _plans.get((run_id, spec.scoring))
    if found is None:
        found = ScoringPlan(spec, model_origin(spec).current(store), pool.source(spec))
        keep_plan(run_id, found)
    return found
