"""The attribute `engine`: a union tagged by `kind`, whose members the registry knows."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.hints import closest
from onnx_pipeline.spec.engines.options import EngineOptions
from onnx_pipeline.spec.engines.registry import engine_kinds, options_of
from onnx_pipeline.spec.misfits import AttributeMisfitError, place_in

__all__ = ["DEFAULT_KIND", "engine_options", "resolve_engine"]

DEFAULT_KIND = "onnxruntime"

_MAY_HOLD_A_SECRET = ("auth", "env", "headers")


def engine_options(value: Any) -> Any:
    """The options that a mapping spells, of the engine that its `kind` names; anything else as it is.

    Raises ValidationError, whose places start at the mapping.
    """
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind", DEFAULT_KIND)
    try:
        options = options_of(str(kind))
    except SpecError as error:
        raise _refused("engine", [(("kind",), str(error))]) from None
    unknown = [name for name in value if name not in options.model_fields]
    if unknown:
        raise _refused("engine", [((str(name),), _no_option(str(name), options, str(kind))) for name in unknown])
    return options.model_validate(dict(value))


def _no_option(name: str, options: type[EngineOptions], kind: str) -> str:
    owners = [other for other in engine_kinds() if name in options_of(other).model_fields]
    if owners:
        return f"engine: {name!r} belongs to `kind: {owners[0]}`, and this is `kind: {kind}`"
    own = [option for option in options.model_fields if option != "kind"]
    if not own:
        return f"engine: {name!r} is no option of the engine `{kind}`, which has none"
    return f"engine: {name!r} is no option of the engine `{kind}`; {closest(name, own)}"


def _refused(title: str, problems: list[tuple[tuple[str, ...], str]]) -> ValidationError:
    lines = [
        InitErrorDetails(type=PydanticCustomError("engine", "{text}", {"text": text}), loc=place, input=None)
        for place, text in problems
    ]
    return ValidationError.from_exception_data(title, lines, hide_input=True)


def resolve_engine(context: dg.ResolutionContext, value: Any) -> Any:
    """The options from YAML; what is wrong is told with file and line of the option itself."""
    try:
        return engine_options(context.resolve_value(value))
    except ValidationError as error:
        raise AttributeMisfitError("\n".join(_told(context, error))) from None


def _told(context: dg.ResolutionContext, error: ValidationError) -> Iterator[str]:
    for found in error.errors(include_url=False):
        yield f"{place_in(context, found['loc'])}{_misfit(found)}"


def _misfit(found: ErrorDetails) -> str:
    place, message = ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
    # Our own messages name the value where it can be no secret.
    shown = found["type"] not in ("value_error", "engine") and not set(found["loc"]) & set(_MAY_HOLD_A_SECRET)
    text = f"engine.{place}: {message}" if place else message
    return f"{text}, and it is {found['input']!r}" if shown else text
