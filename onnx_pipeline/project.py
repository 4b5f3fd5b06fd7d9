"""The scorings of this project, read from its `defs/` folder without building Dagster definitions."""

from pathlib import Path

from onnx_pipeline.errors import SpecError
from onnx_pipeline.hints import closest
from onnx_pipeline.spec import ScoringSpec

__all__ = ["find_scoring", "scorings"]


def scorings() -> list[ScoringSpec]:
    """Every scoring under `defs/`, by name; `SpecError` where a `defs.yaml` cannot be one."""
    import dagster as dg
    import yaml
    from dagster.components.core.component_tree import ComponentTreeException
    from dagster.components.core.defs_module import DefsFolderComponent

    from onnx_pipeline.component import OnnxScoring

    tree = dg.ComponentTree.for_project(Path(__file__).parent)
    try:
        root = tree.load_component(tree.defs_module_path, DefsFolderComponent)
    except ComponentTreeException as error:
        # Its cause names file, line and attribute; the tree of components around it says nothing more.
        raise SpecError(str(error.__cause__ or error)) from error
    except yaml.YAMLError as error:
        raise SpecError(f"a defs.yaml is not YAML: {error}") from error
    found = [
        component.placed(name=Path(path.file_path).name, directory=Path(path.file_path))
        for path, component in root.iterate_path_component_pairs()
        if isinstance(component, OnnxScoring)
    ]
    return sorted(found, key=lambda spec: spec.scoring)


def find_scoring(name: str) -> ScoringSpec:
    """The scoring of that name; `SpecError` where there is none."""
    known = {spec.scoring: spec for spec in scorings()}
    if name not in known:
        raise SpecError(f"there is no scoring {name!r}; {closest(name, sorted(known))}")
    return known[name]
