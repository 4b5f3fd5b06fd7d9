"""The page `docs/spec.md`, made from the spec's own fields: `python -m onnx_pipeline.spec.reference > docs/spec.md`."""

import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SerializeAsAny
from pydantic.fields import FieldInfo

from onnx_pipeline.spec.checks import CheckSpec
from onnx_pipeline.spec.engines.options import EngineOptions
from onnx_pipeline.spec.engines.registry import BUILT_IN, options_of
from onnx_pipeline.spec.engines.remote import AuthSpec
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.source import SourceSpec
from onnx_pipeline.spec.target import TargetSpec

__all__ = ["reference"]

_HEAD = """\
<!-- Made from the code. Do not edit; run: python -m onnx_pipeline.spec.reference > docs/spec.md -->

# Attributes of a scoring

One folder under the project's `defs/` with one `defs.yaml` is one scoring. Its attributes are checked when Dagster
loads the project: an unknown name is an error with file and line, a wrong value one that says what is expected.

```yaml
type: onnx_pipeline.OnnxScoring

attributes:
  onnx: models/length_of_stay.onnx
  source: {table: encounters, changed: updated_at}
  key: [encounter_id]
  features: {admission_age: age}
  partitions: {column: admitted_on, every: day, start: 2026-01-01, timezone: Europe/Berlin, end_offset: 1}
  target: length_of_stay_predictions
  outputs: {predicted_days: variable}
  load: replace
  nulls: {age: 40, pulse: nan}
  rescore: latest 7
  checks: {null_rate: 0.1, psi: 0.2, blocking: [psi]}
  schedule: "0 6 * * *"
```

Only `source`, `key`, `target` and, unless a service has the model, `onnx` are required. The path of a model starts in
the folder of `defs.yaml` where the file exists there, and else at the project's root.
"""

_PARTS: dict[str, type[BaseModel]] = {
    "source": SourceSpec,
    "partitions": PartitionSpec,
    "target": TargetSpec,
    "engine": EngineOptions,
    "auth": AuthSpec,
    "checks": CheckSpec,
}
"""Attributes that have attributes of their own, in the order of the page."""

_YAML_NAMES = {"load_mode": "load"}
_PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false"}
_LIMITS = (
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Gt, "gt", "more than"),
    (annotated_types.Le, "le", "at most"),
)


def reference() -> str:
    """The page as Markdown."""
    sections = [_HEAD, "## Top level\n", _table(ScoringSpec)]
    for name, part in _PARTS.items():
        if part is EngineOptions:
            sections += _engines()
        else:
            sections += [f"\n## {name}\n", f"{_documentation(part)}\n", _table(part)]
    return "\n".join(sections) + "\n"


def _engines() -> list[str]:
    """The union `engine`: one table per kind."""
    sections = [
        "\n## engine\n",
        (
            "Who computes predictions from features. `kind` names the engine, and each engine has options of its own; "
            "an option of another one is an error.\n"
        ),
    ]
    for kind in BUILT_IN:
        options = options_of(kind)
        sections += [f"\n### engine: {kind}\n", f"{_documentation(options)}\n", _table(options)]
    return sections


def _documentation(part: type[BaseModel]) -> str:
    return " ".join((part.__doc__ or "").split())


def _table(part: type[BaseModel]) -> str:
    lines = ["| attribute | type | default | meaning |", "|---|---|---|---|"]
    for name, info in part.model_fields.items():
        cells = (f"`{_YAML_NAMES.get(name, name)}`", _type(info.annotation) + _limits(info), _default(info))
        lines.append(f"| {' | '.join(cells)} | {info.description} |")
    return "\n".join(lines)


def _type(annotation: Any) -> str:
    """A type as a person who writes YAML calls it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin in (Union, types.UnionType):
        choices = [_type(argument) for argument in arguments if argument is not type(None)]
        return (", or " if any(" of " in choice for choice in choices) else " or ").join(choices)
    if origin is SerializeAsAny or origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Sequence:
        return f"list of {_type(arguments[0])}"
    if origin is Mapping:
        value = _type(arguments[1])
        return f"mapping of {_type(arguments[0])} to {f'({value})' if ' or ' in value else value}"
    name = next((name for name, part in _PARTS.items() if part is annotation), None)
    if name is None:
        raise TypeError(f"{annotation!r} has no name for docs/spec.md yet: give it one in {__name__}")
    return f"[{name}](#{name})"


def _limits(info: FieldInfo) -> str:
    found = [
        f"{words} {getattr(limit, attribute):,}"
        for limit in info.metadata
        for kind, attribute, words in _LIMITS
        if isinstance(limit, kind)
    ]
    return f", {', '.join(found)}" if found else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, ""):
        return ""
    return "its own defaults" if isinstance(value, BaseModel) else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
