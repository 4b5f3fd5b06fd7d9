"""The Dagster project of the working directory, and its scorings, read without building Dagster definitions."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from onnx_pipeline.base import paths
from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["DagsterProject", "current_project", "find_scoring", "scorings"]

_TRACEBACK = "Traceback (most recent call last)"
_MAY_BE_SECRET = re.compile(r"attributes\.engine\.\S*\b(auth|headers)\b")
_INPUT = re.compile(r", input_value=.*, input_type=\w+\]")


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


def scorings() -> list[ScoringSpec]:
    """Every scoring of the project, by name; `SpecError` where a `defs.yaml` cannot be one.

    Only scorings are loaded, and nothing else that the project has.
    """
    import dagster as dg
    import yaml
    from dagster.components.core.component_tree import ComponentTreeException

    from onnx_pipeline.component import scorings_of

    root = current_project().root
    try:
        tree = dg.ComponentTree.for_project(root)
        found = list(scorings_of(tree))
    except ComponentTreeException as error:
        raise SpecError(_told(error)) from error
    except yaml.YAMLError as error:
        raise SpecError(f"a defs.yaml is not YAML: {error}") from error
    except (dg.DagsterError, ImportError) as error:
        raise SpecError(f"the Dagster project {root} does not load: {error}") from error
    twice = [name for name, count in Counter(spec.scoring for spec in found).items() if count > 1]
    if twice:
        raise SpecError(f"two scorings are named {twice[0]!r}; rename a folder, or give one of them another `name`")
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
