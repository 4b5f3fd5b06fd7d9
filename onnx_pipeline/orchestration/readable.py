"""The declarations of a project's `defs` folder, also where a file of it is no YAML."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster.components.core.context import ComponentDeclLoadContext
from dagster.components.core.decl import ComponentDecl, DefsFolderDecl, build_filesystem_component_decl_from_context
from dagster.components.core.defs_module import (
    EXPLICITLY_IGNORED_GLOB_PATTERNS,
    ComponentPath,
    DefsFolderComponent,
    context_with_injected_scope,
    find_defs_or_component_yaml,
)
from pydantic import ValidationError

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.orchestration.broken import BrokenScoring, broken_definitions

__all__ = ["load_from_defs_folder", "unreadable"]


def load_from_defs_folder(*, path_within_project: Path) -> dg.Definitions:
    """What Dagster's function of this name gives, and no less where Dagster cannot read a file of the project.

    It is for the `definitions.py` of a project. In the place of such a file stand a job and a sensor that fail with
    what is wrong with it; everything else loads. Dagster's own function reads all files before any component has a
    say, and raises what it meets first.

    Args:
        path_within_project: the project's root, or a path below it: `Path(__file__).parent`.
    """
    tree = dg.ComponentTree.for_project(path_within_project)
    broken = [broken_definitions(each.name, each.error) for each in unreadable(tree)]
    return dg.Definitions.merge(*broken, tree.build_defs())


def unreadable(tree: dg.ComponentTree) -> list[BrokenScoring]:
    """What a tree cannot read, by the folder; the tree goes on without it.

    Dagster reads every file of a project at once, and one that is no YAML would be the end of all of them.
    """
    root = ComponentPath.from_path(tree.defs_module_path)
    found: list[BrokenScoring] = []
    decl = _read(tree.decl_load_context.for_component_loc(root), found)
    if decl is not None:
        # As Dagster keeps it once it has read the files itself.
        tree.state_tracker.set_cache_data(root, component_decl=decl)
    return found


def _read(context: ComponentDeclLoadContext, broken: list[BrokenScoring]) -> ComponentDecl[Any] | None:
    try:
        return build_filesystem_component_decl_from_context(context)
    except (yaml.YAMLError, ValidationError, dg.DagsterError, ImportError) as error:
        folder = context.path
        if not folder.is_dir():
            raise
        if find_defs_or_component_yaml(folder):
            broken.append(BrokenScoring(_name(context), SpecError(_told(folder, error))))
            return None
    within = context_with_injected_scope(context, DefsFolderComponent, None)
    children = {}
    for path in sorted(folder.iterdir()):
        if any(path.relative_to(folder).match(pattern) for pattern in EXPLICITLY_IGNORED_GLOB_PATTERNS):
            continue
        child = _read(within.for_component_loc(ComponentPath.from_path(path)), broken)
        if child is not None:
            children[path] = child
    loc = ComponentPath.from_path(folder)
    return DefsFolderDecl(context=context, loc=loc, children=children, source_tree=None, component_file_model=None)


def _name(context: ComponentDeclLoadContext) -> str:
    """The folder's name, or its path in `defs` where another folder has that name: jobs of one name would not load."""
    root, folder = context.defs_module_path, context.path
    namesakes = [found for found in root.rglob(folder.name) if found.is_dir()]
    return folder.name if len(namesakes) < 2 else folder.relative_to(root).as_posix()


def _told(folder: Path, error: Exception) -> str:
    file = find_defs_or_component_yaml(folder) or folder
    if isinstance(error, dg.DagsterError | ImportError):
        return f"{file}: {error}"
    if isinstance(error, ValidationError):
        wrong = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        return f"{file}: {wrong}"
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark is not None else ""
    return f"{file}{line}: this is not YAML: {getattr(error, 'problem', None) or error}"
