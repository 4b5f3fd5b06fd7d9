"""The resources of a scoring where its project defines none.

A project that only has `OnnxScoring` in its `defs/` folder works as it is, and one that defines `pool`, `staging`,
`artifacts` or `onnx_runtime` anywhere (in `defs/`, or in its definitions.py) gets its own. What else was looked at:

- Resources in the component's own `Definitions`: merging refuses two different objects under one key, also where one
  of them is only a default.
- `resource_defs` on the assets: those go before the project's, or are refused beside them.
- Looking through the component tree for the project's own: misses what definitions.py adds, and builds files early.

So an asset requires its resources like any other, and takes what is missing at the moment when Dagster gives it those
of the project. A sensor or schedule can require only what the project defines, so it looks there at each tick.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.execution.build_resources import wrap_resources_for_execution
from dagster._core.execution.resources_init import get_transitive_required_resource_keys

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.broken import as_text_alone
from onnx_pipeline.orchestration.names import upstream_keys
from onnx_pipeline.orchestration.resources import scoring_resources

__all__ = ["ScoringAsset", "resources_at_tick"]

TickContext = dg.SensorEvaluationContext | dg.ScheduleEvaluationContext


@lru_cache(maxsize=1)
def _ours() -> Mapping[str, dg.ConfigurableResource[Any]]:
    return scoring_resources()


@lru_cache(maxsize=1)
def _defaults() -> Mapping[str, dg.ResourceDefinition]:
    """The same objects at each call, so that all assets of a job bring one and the same."""
    return wrap_resources_for_execution(_ours())


def _completed(of_project: Mapping[str, dg.ResourceDefinition]) -> Mapping[str, dg.ResourceDefinition]:
    """The project's resources, with the defaults of the keys that it does not have."""
    for key, ours in _ours().items():
        theirs = getattr(of_project.get(key), "configurable_resource_cls", None)
        if theirs is not None and not issubclass(theirs, type(ours)):
            raise as_text_alone(
                SpecError(
                    f"the project's resource {key!r} is a {theirs.__name__}, and OnnxScoring needs a "
                    f"{type(ours).__name__} under that key. Give yours another key, or subclass {type(ours).__name__}"
                )
            )
    return {**_defaults(), **of_project}


class ScoringAsset(dg.AssetsDefinition):
    """An asset of a scoring, which brings the resources that its project does not define."""

    def with_resources(self, resource_defs: Mapping[str, dg.ResourceDefinition]) -> "ScoringAsset":
        self._refuse_lost_order()
        asset = super().with_resources(_completed(resource_defs))
        assert isinstance(asset, ScoringAsset)
        return asset

    def _refuse_lost_order(self) -> None:
        """`deps` in YAML or in `replace_attributes` replace ours: Dagster would run the assets out of order."""
        scoring, name = self.key.path
        found = {dep.asset_key for dep in self.specs_by_key[self.key].deps}
        lost = [key.to_user_string() for key in upstream_keys(scoring, name) if key not in found]
        if lost:
            raise as_text_alone(
                SpecError(
                    f"{self.key.to_user_string()} no longer depends on {' and '.join(lost)}, so that Dagster might "
                    "make it first: `deps` given by post_processing or get_asset_spec replace its own. Name those too"
                )
            )

    @staticmethod
    def dagster_internal_init(**attributes: Any) -> "ScoringAsset":
        # Dagster copies assets by this: what post-processing changes stays a ScoringAsset.
        return ScoringAsset(**attributes)


@contextmanager
def resources_at_tick(context: TickContext, *keys: str) -> Iterator[tuple[Any, ...]]:
    """The resources of these keys, as the assets of the project have them."""
    available = _completed(_of_project(context))
    needed = get_transitive_required_resource_keys(frozenset(keys), available)
    with dg.build_resources({key: available[key] for key in needed}, instance=context.instance) as built:
        yield tuple(getattr(built, key) for key in keys)


def _of_project(context: TickContext) -> Mapping[str, dg.ResourceDefinition]:
    given = context.resource_defs or {}
    try:
        repository = context.repository_def
    except dg.DagsterInvariantViolationError:
        repository = None  # a schedule that is evaluated by itself, as in a test
    return {**given, **(repository.get_top_level_resources() if repository is not None else {})}
