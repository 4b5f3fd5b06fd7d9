"""The Dagster project of the working directory, and its scorings, read without building Dagster definitions."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["DagsterProject", "FoundScorings", "current_project", "find_scoring", "found_scorings", "scorings"]


@dataclass(frozen=True)
class DagsterProject:
    """A folder that `dg` takes for a project: a pyproject.toml with `[tool.dg.project]`, or a dg.toml."""

    root: Path

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        from dagster_shared.utils.config import load_toml_as_dict

        alone = self.root / "dg.toml"
        if alone.is_file():
            found: Mapping[str, Any] = load_toml_as_dict(alone).get("project", {})
        else:
            found = load_toml_as_dict(self.root / "pyproject.toml")["tool"]["dg"]["project"]
        return found

    @property
    def definitions_module(self) -> str:
        """The module that Dagster loads: `<root_module>.definitions` unless the project says otherwise."""
        named = self._settings.get("code_location_target_module")
        if named is None and "root_module" not in self._settings:
            raise SpecError(f"the Dagster project {self.root} names no `root_module`: add it to [tool.dg.project]")
        return str(named or f"{self._settings['root_module']}.definitions")


def current_project() -> DagsterProject:
    """The project of `ONNX_PIPELINE_HOME`, of the working directory, or the checkout that this package lies in."""
    home, here = paths.home(), Path.cwd()
    for folder in (home, paths.project_above(here), paths.checkout()):
        if folder is not None and paths.project_above(folder) == folder:
            return DagsterProject(folder)
    raise SpecError(
        f"there is no Dagster project here: neither {here} nor a folder above it holds a pyproject.toml with "
        "[tool.dg.project]. Change into your project, or name it by ONNX_PIPELINE_HOME; `create-dagster project "
        "<name>` makes one"
    )


@dataclass(frozen=True)
class FoundScorings:
    """The scorings of a project."""

    whole: Sequence[ScoringSpec]
    """By name."""
    broken: Mapping[str, SpecError]
    """By the name of the scoring, what keeps it from being one: file, line, attribute, and what is wrong with it."""

    def only(self, names: Collection[str]) -> "FoundScorings":
        """Those of these names."""
        broken = {name: error for name, error in self.broken.items() if name in names}
        return FoundScorings([spec for spec in self.whole if spec.scoring in names], broken)


def found_scorings() -> FoundScorings:
    """Every scoring of the project, those apart that cannot be. SpecError where the project itself does not load.

    Only scorings are loaded, and nothing else that the project has.
    """
    import dagster as dg
    from dagster.components.core.component_tree import ComponentTreeException

    from onnx_pipeline.component import whole_and_broken
    from onnx_pipeline.orchestration.readable import unreadable

    root = current_project().root
    try:
        tree = dg.ComponentTree.for_project(root)
        found = [*unreadable(tree), *whole_and_broken(tree)]
    except ComponentTreeException as error:
        raise SpecError(str(error.__cause__ or error)) from error
    except (dg.DagsterError, ImportError) as error:
        raise SpecError(f"the Dagster project {root} does not load: {error}") from error
    whole = [each for each in found if isinstance(each, ScoringSpec)]
    broken = {each.name: each.error for each in found if not isinstance(each, ScoringSpec)}
    for name, count in Counter(spec.scoring for spec in whole).items():
        if count > 1:
            broken[name] = SpecError(
                f"two scorings are named {name!r}; rename a folder, or give one of them another `name`"
            )
    return FoundScorings(sorted((spec for spec in whole if spec.scoring not in broken), key=_name), broken)


def _name(spec: ScoringSpec) -> str:
    return spec.scoring


def scorings() -> list[ScoringSpec]:
    """Every scoring of the project, by name; `SpecError` where one of them cannot be."""
    found = found_scorings()
    for error in found.broken.values():
        raise error
    return list(found.whole)


def find_scoring(name: str) -> ScoringSpec:
    """The scoring of that name; `SpecError` where there is none, or where it cannot be one."""
    found = found_scorings()
    if name in found.broken:
        raise found.broken[name]
    known = {spec.scoring: spec for spec in found.whole}
    if name not in known:
        raise SpecError(f"there is no scoring {name!r}; {closest(name, sorted([*known, *found.broken]))}")
    return known[name]
