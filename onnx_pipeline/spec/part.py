"""What every part of a spec is: frozen, and without unknown attributes."""

import re
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from onnx_pipeline.spec.misfits import AttributeMisfitError, told

__all__ = ["SpecPart"]

_PLAIN = re.compile(
    r"(?!(?:True|False|None)\Z)(?:\.{1,2}/)*[A-Za-z_/][\w./:-]*(?: [\w./:-]+)*"
    r"|\d{4}-\d\d-\d\d(?:[-T ]\d\d(?::\d\d)*)?"
)
"""A text in which Dagster's templates find neither an expression nor a value of Python: a name, a path, a date."""


class _Resolution(dg.ResolutionContext):
    """Resolves as Dagster does, and leaves a plain text as it is, which as a template would give itself.

    Dagster compiles every text as a template: a sixth of what loading hundreds of scorings takes.
    """

    def resolve_value(self, val: Any, as_type: type | None = None) -> Any:
        if isinstance(val, str) and _PLAIN.fullmatch(val):
            return val
        return super().resolve_value(val)  # `as_type` is for type checkers


class SpecPart(dg.Model, dg.Resolvable):
    """Attributes that Dagster resolves from YAML, so that a wrong one is reported with its file and line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        if not isinstance(context, _Resolution):
            context = _Resolution(
                scope=context.scope,
                path=context.path,
                source_position_tree=context.source_position_tree,
                stash=context.stash,
            )
        try:
            made: Self = super().resolve_from_model(context, model)
        except ValidationError as error:
            # Its own report would be quoted with a traceback.
            raise AttributeMisfitError(
                told(error, context.source_position_tree, context.path, cls.model_fields)
            ) from None
        return made
