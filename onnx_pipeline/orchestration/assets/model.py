"""The asset `model`: the artifact fetched, checked, kept by its sha256, and registered in the pool."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from onnx_pipeline.base.errors import PoolError, SignatureError, first_line
from onnx_pipeline.engines.opinions import opinions
from onnx_pipeline.models.origins import FetchedModel
from onnx_pipeline.models.planned import PlannedModel, signed
from onnx_pipeline.orchestration import metadata as show
from onnx_pipeline.orchestration.assets.plans import keep_plan
from onnx_pipeline.orchestration.assets.step import Step, Work
from onnx_pipeline.pools.base import Pool
from onnx_pipeline.scoring.artifact import model_origin
from onnx_pipeline.scoring.plan import ScoringPlan
from onnx_pipeline.scoring.readiness import refuse_unsupported
from onnx_pipeline.scoring.verdicts import signature
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["MODEL"]

_SENTENCE = 400
"""Most characters of a reason."""
_PATIENCE = 30.0
"""Seconds that the pool has to say what it offers: nothing waits for that."""


def _describe(spec: ScoringSpec) -> str:
    if spec.onnx is not None:
        return f"The model artifact at `{spec.onnx}`, checked, normalised and kept by its sha256."
    return f"The model that stays at `{spec.model_place}`, by its version and signature."


def _work(work: Work) -> Mapping[str, Any]:
    spec, store = work.spec, work.resources.artifacts
    found = model_origin(spec).fetch(store, work.resources.runtime)
    try:
        plan = ScoringPlan(spec, found.model, work.pool.source(spec))
    except SignatureError as error:
        work.watch.show(signature(str(error)))
        raise
    work.watch.show(signature(None))
    refuse_unsupported(plan, work.pool)
    work.pool.register_model(spec.scoring, found.model.sha256, found.data, signed(found.model), form=found.form)
    found.adopt(spec.scoring, store)
    keep_plan(work.context.run.run_id, plan)
    work.say(f"{spec.scoring}: model {found.model.sha256[:12]}, {len(found.data):,} bytes, {found.uri}")
    work.data_version = found.model.sha256
    return _metadata(plan, found, work.pool)


MODEL = Step(
    "model",
    describe=_describe,
    kinds=lambda _: ("onnx",),
    deps=lambda _: (),
    work=_work,
    partitioned=False,
)


def _metadata(plan: ScoringPlan, found: FetchedModel, pool: Pool) -> dict[str, Any]:
    bound = [(staged, source, plan.binding.columns[staged]) for staged, source in plan.features.items()]
    bound += [(staged, source, f"not read: {plan.why_unread[staged]}") for staged, source in plan.unread.items()]
    model = found.model
    return {
        "sha256": model.sha256,
        "uri": found.uri,
        "signature": dg.MetadataValue.md(model.signature.markdown()),
        "features": dg.MetadataValue.md(show.markdown_table(("feature", "source column", "dtype"), bound)),
        **{name: _shown(value) for name, value in model.about.items()},
        "engines": dg.MetadataValue.md(_engines(model, pool)),
        "pool_offers": dg.MetadataValue.md(_offers(pool)),
    }


def _shown(value: str | int | Sequence[str]) -> Any:
    """Text and numbers as they are, several sentences as a list."""
    if isinstance(value, (str, int)):
        return value
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in value))


def _engines(model: PlannedModel, pool: Pool) -> str:
    """What every engine says of the model."""
    rows = [(found.engine, found.verdict.value, found.why, found.remedy) for found in opinions(model, pool)]
    return show.markdown_table(
        ("engine", "can run it", "why, or where", "what would make it run"), rows, most=_SENTENCE
    )


def _offers(pool: Pool) -> str:
    """What the pool offers beside its tables. The model is registered already, and no answer keeps it from that."""
    try:
        rows = [(offer.name, offer.told) for offer in pool.waiting_at_most(_PATIENCE).offers()]
    except PoolError as error:
        return f"not known: {first_line(error)}"
    return show.markdown_table(("what", "here"), rows, most=_SENTENCE)
