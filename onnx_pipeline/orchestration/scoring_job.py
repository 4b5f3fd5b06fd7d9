"""The job of one scoring, resolved against what stands upstream of its assets and no more.

Dagster looks through every asset of a project for each job that it resolves, twice: with a job per scoring that is a
quarter of a code server's start at 500 scorings, and four times as much at twice as many.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_key import AssetOrCheckKey
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from onnx_pipeline.orchestration.names import scoring_keys
from onnx_pipeline.orchestration.pod_sizes import largest_pod_tags
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["ScoringJob", "scoring_job"]


class ScoringJob(UnresolvedAssetJobDefinition):
    """A job over assets that are named, not searched for."""

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        return super().resolve(_upstream(asset_graph, self.selection), default_executor_def, resource_defs)


def scoring_job(spec: ScoringSpec) -> Any:
    """The job that scores one table."""
    return ScoringJob(
        spec.scoring,
        selection=dg.AssetSelection.assets(*scoring_keys(spec.scoring)),
        description=f"Score `{spec.source_spec.table or 'a query'}` into `{spec.target_table}`.",
        tags=largest_pod_tags(),
    )


def _upstream(graph: AssetGraph, selection: dg.AssetSelection) -> AssetGraph:
    """The part of a graph that a job can have to do with: its assets, their checks, and all that is above either."""
    selected = selection.resolve(graph)
    checks = [check for key in selected for check in graph.get(key).check_keys]
    found: dict[int, dg.AssetsDefinition] = {}
    waiting: list[AssetOrCheckKey] = [*sorted(selected), *checks]
    seen = set(waiting)
    while waiting:
        for asset in graph.assets_defs_for_keys([key for key in waiting if graph.has(key)]):
            found[id(asset)] = asset
        waiting = [key for asset in found.values() for key in _touched(asset) if key not in seen]
        seen.update(waiting)
    assets = list(found.values())
    nodes = {key: graph.get(key) for asset in assets for key in asset.keys}
    return AssetGraph(nodes, {check: asset for asset in assets for check in asset.check_keys})


def _touched(asset: dg.AssetsDefinition) -> set[dg.AssetKey]:
    """What an asset is made from and with, also where a subset of it is run."""
    above = {dep.asset_key for spec in asset.specs for dep in spec.deps}
    return {*asset.keys, *above, *asset.node_keys_by_input_name.values(), *asset.node_keys_by_output_name.values()}
