"""`OnnxScoring`: one folder with one `defs.yaml` per scored table."""

import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.core.component_tree import TestComponentTree
from dagster.components.core.decl import ComponentLoaderDecl
from dagster.components.core.defs_module import ComponentPath
from dagster.components.resolved.errors import ResolutionException
from pydantic import BaseModel, ValidationError
from typing_extensions import Self

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.assets.build import asset_spec, build_assets
from onnx_pipeline.orchestration.assets.step import Events, Step, Work, running
from onnx_pipeline.orchestration.automation import build_automation
from onnx_pipeline.orchestration.broken import BrokenScoring, broken_definitions
from onnx_pipeline.orchestration.declarations import remember_declarations
from onnx_pipeline.orchestration.freshness import build_freshness
from onnx_pipeline.orchestration.scaffold import OnnxScoringScaffolder
from onnx_pipeline.orchestration.together import place_of, refuse_shared
from onnx_pipeline.partitions.of_spec import partitioning
from onnx_pipeline.spec.kept_misfits import keeping_misfits, kept_misfits
from onnx_pipeline.spec.misfits import attribute_in, told
from onnx_pipeline.spec.position import position
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["OnnxScoring", "scorings_of", "whole_and_broken"]

_ATTRIBUTES = ScoringSpec.model_fields.keys() | {"load"}

# What Dagster and this package have loaded stays as long as the process: the collector need not go through all of it
# again and again, which takes 4 % of a run of few rows.
gc.freeze()


@dg.scaffold_with(OnnxScoringScaffolder)
class OnnxScoring(ScoringSpec, dg.Component):
    """Scores a table with an ONNX model: four assets, a job, sensors, and a schedule if wanted.

    `dg scaffold defs onnx_pipeline.OnnxScoring FOLDER` takes these options. On a terminal it asks for those that are
    missing, else each has a default that is to be corrected in the file: --onnx (path or URI of the model),
    --table (the table to score), --key (the column that identifies a row), --target (the table of predictions; by
    default TABLE_predictions).

    A subclass may override `get_asset_spec` and `execute`, and add attributes of its own.
    """

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return keeping_misfits(cls.model())

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        remember_declarations(context.component_tree)
        misfits, given = kept_misfits(attributes)
        try:
            if misfits is not None:
                raise misfits
            return super().load(attributes, context)
        except ValidationError as error:
            tree = context.resolution_context.source_position_tree
            wrong = SpecError(told(error, tree, ["attributes"], cls.model_fields.keys() - {"load_mode"} | {"load"}))
        except SpecError as error:
            wrong = _placed_error(_folder_of(context.path), error)
        except ResolutionException as error:
            # Of a template that names nothing, for instance.
            wrong = SpecError(str(error))
        name = given.get("name") if isinstance(given, Mapping) else getattr(attributes, "name", None)
        # Dagster asks it for its definitions and nothing else.
        return BrokenScoring(name if isinstance(name, str) else _folder_of(context.path).name, wrong)  # type: ignore[return-value]

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
        try:
            spec = self._placed_at(context.path)
            partitioning(spec)
            assets = build_assets(spec, spec_of=self.get_asset_spec, execute=self.execute)
            _refuse_shared_target(spec, context.component_tree)
            return dg.Definitions.merge(dg.Definitions(assets=assets), build_automation(spec), build_freshness(spec))
        except SpecError as error:
            folder = _folder_of(context.path)
            return broken_definitions(self.name or folder.name, _placed_error(folder, error))

    def _placed_at(self, path: Path) -> ScoringSpec:
        folder = _folder_of(path)
        return self.placed(name=folder.name, directory=folder)


def _placed_error(folder: Path, error: SpecError) -> SpecError:
    """The error with file and line of the attribute that it begins with, where it does not say them itself."""
    file = folder / "defs.yaml"
    where = "" if str(error).startswith(str(file)) else position(folder, *attribute_in(str(error), _ATTRIBUTES))
    return SpecError(f"{where}{error}")


def _folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def scorings_of(tree: dg.ComponentTree) -> Iterator[ScoringSpec]:
    """Every scoring of a project that can be, subclasses included. Loads no other component."""
    for found in whole_and_broken(tree):
        if isinstance(found, ScoringSpec):
            yield found


def whole_and_broken(tree: dg.ComponentTree) -> Iterator[ScoringSpec | BrokenScoring]:
    """Every scoring of a project, and in its place what keeps it from being one."""
    for loc, decl in tree.find_root_decl().iterate_loc_component_decl_pairs():
        # A component that Python code makes says its type, if at all, in an annotation; the others in YAML.
        said = decl.component_type
        if isinstance(loc, ComponentPath) and (
            isinstance(decl, ComponentLoaderDecl) or (isinstance(said, type) and issubclass(said, OnnxScoring))
        ):
            component: Any = tree.load_component(loc)
            if isinstance(component, OnnxScoring):
                yield _whole_or_broken(component, loc.file_path)
            elif isinstance(component, BrokenScoring):
                yield component


def _whole_or_broken(component: OnnxScoring, path: Path) -> ScoringSpec | BrokenScoring:
    folder = _folder_of(path)
    try:
        spec = component._placed_at(path)  # noqa: SLF001 - a component's own module
        partitioning(spec)
    except SpecError as error:
        return BrokenScoring(component.name or folder.name, _placed_error(folder, error))
    return spec


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
