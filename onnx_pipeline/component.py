"""`OnnxScoring`: one folder with one `defs.yaml` per scored table."""

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import dagster as dg
from dagster.components.core.component_tree import TestComponentTree
from dagster.components.core.decl import ComponentLoaderDecl
from dagster.components.core.defs_module import ComponentPath
from pydantic import BaseModel
from typing_extensions import Self

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.assets.build import asset_spec, build_assets
from onnx_pipeline.orchestration.assets.step import Events, Step, Work, running
from onnx_pipeline.orchestration.automation import build_automation
from onnx_pipeline.orchestration.declarations import remember_declarations
from onnx_pipeline.orchestration.freshness import build_freshness
from onnx_pipeline.orchestration.scaffold import OnnxScoringScaffolder
from onnx_pipeline.orchestration.together import place_of, refuse_shared
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["OnnxScoring", "scorings_of"]

# What Dagster and this package have loaded stays as long as the process: the collector need not go through all of it
# again and again, which takes 4 % of a run of few rows.
gc.freeze()


@dg.scaffold_with(OnnxScoringScaffolder)
class OnnxScoring(ScoringSpec, dg.Component):
    """Scores a table with an ONNX model: four assets, a job, sensors, and a schedule if wanted.

    A subclass may override `get_asset_spec` and `execute`, and add attributes of its own.
    """

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        remember_declarations(context.component_tree)
        return super().load(attributes, context)

    def get_asset_spec(self, spec: ScoringSpec, step: Step) -> dg.AssetSpec:
        """What Dagster is told of one of the four assets: `step.name` says which one, `spec` holds the attributes.

        An override changes what comes from `super()`: owners, tags, metadata, deps, an automation condition. Key and
        partitions stay, since the scoring log and the jobs go by them.
        """
        return asset_spec(spec, step)

    def execute(self, work: Work) -> Events:
        """Do the work of one asset in one run, and yield what Dagster records of it.

        `work.context` is Dagster's context, `work.step` and `work.spec` say what is done. An override does something
        before and after `yield from super().execute(work)`.
        """
        return running(work)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        paths.enter(context.project_root)
        file = _folder_of(context.path) / "defs.yaml"
        try:
            spec = self._placed_at(context.path)
            partitioning(spec)
            assets = build_assets(spec, spec_of=self.get_asset_spec, execute=self.execute)
        except SpecError as error:
            raise SpecError(f"{file}: {error}") from error
        _refuse_shared_target(spec, context.component_tree)
        return dg.Definitions.merge(dg.Definitions(assets=assets), build_automation(spec), build_freshness(spec))

    def _placed_at(self, path: Path) -> ScoringSpec:
        folder = _folder_of(path)
        return self.placed(name=folder.name, directory=folder)


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def scorings_of(tree: dg.ComponentTree) -> Iterator[ScoringSpec]:
    """Every scoring of a project, subclasses included. Loads no other component."""
    for loc, decl in tree.find_root_decl().iterate_loc_component_decl_pairs():
        # A component that Python code makes says its type, if at all, in an annotation; the others in YAML.
        said = decl.component_type
        if isinstance(loc, ComponentPath) and (
            isinstance(decl, ComponentLoaderDecl) or (isinstance(said, type) and issubclass(said, OnnxScoring))
        ):
            component = tree.load_component(loc)
            if isinstance(component, OnnxScoring):
                yield component._placed_at(loc.file_path)  # noqa: SLF001 - a component's own module


def _refuse_shared_target(spec: ScoringSpec, tree: dg.ComponentTree) -> None:
    """Two scorings with one target would delete each other's rows."""
    if isinstance(tree, TestComponentTree):
        return  # a component by itself, outside a project
    rivals = _targets(tree).get(place_of(spec.target_table), ())
    refuse_shared([*rivals, (spec.scoring, spec.target_table)], only=spec.scoring)


@lru_cache(maxsize=2)
def _targets(tree: dg.ComponentTree) -> Mapping[tuple[str, str], Sequence[tuple[str, str]]]:
    """Scoring and target of every scoring, by the place of the target; found once for a tree: every scoring asks."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for spec in scorings_of(tree):
        found[place_of(spec.target_table)].append((spec.scoring, spec.target_table))
    return found
