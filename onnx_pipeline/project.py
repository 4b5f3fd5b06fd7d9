"""The scorings of this project, read from its `defs/` folder without building Dagster definitions."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["find_scoring", "scorings"]

_TRACEBACK = "Traceback (most recent call last)"
_MAY_BE_SECRET = re.compile(r"attributes\.engine\.\S*\b(auth|headers)\b")
_INPUT = re.compile(r", input_value=.*, input_type=\w+\]")


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
        raise SpecError(_told(error)) from error
    except yaml.YAMLError as error:
        raise SpecError(f"a defs.yaml is not YAML: {error}") from error
    found = [
        component.placed(name=Path(path.file_path).name, directory=Path(path.file_path))
        for path, component in root.iterate_path_component_pairs()
        if isinstance(component, OnnxScoring)
    ]
    return sorted(found, key=lambda spec: spec.scoring)


def _told(error: Exception) -> str:
    """File, line, attribute, and what is wrong with it.

    The cause says so; the tree of components around it says nothing more. For a part of a spec the cause also quotes
    the file and holds a traceback: of that its first line is kept, since what is quoted may be a key.
    """
    text = str(error.__cause__ or error)
    if _TRACEBACK not in text:
        return _INPUT.sub("]", text) if _MAY_BE_SECRET.search(text) else text
    parts = [cause for cause in _causes(error) if isinstance(cause, ValidationError)]
    if not parts:
        return text.partition(_TRACEBACK)[0]
    return "\n  ".join([text.splitlines()[0].strip(), *map(_misfit, parts[-1].errors(include_url=False))])


def _misfit(found: ErrorDetails) -> str:
    place, message = ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
    # Our own messages name the value where it can be no secret.
    shown = found["type"] != "value_error" and found["loc"][:1] not in (("auth",), ("env",), ("headers",))
    text = f"{place}: {message}" if place else message
    return f"{text}, and it is {found['input']!r}" if shown else text


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def find_scoring(name: str) -> ScoringSpec:
    """The scoring of that name; `SpecError` where there is none."""
    known = {spec.scoring: spec for spec in scorings()}
    if name not in known:
        raise SpecError(f"there is no scoring {name!r}; {closest(name, sorted(known))}")
    return known[name]
