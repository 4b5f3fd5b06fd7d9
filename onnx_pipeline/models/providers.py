"""Execution providers and their options, as people write them and as ONNX Runtime takes them.

https://onnxruntime.ai/docs/execution-providers/
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.sizes import bytes_of
from onnx_pipeline.models.reduced_precision import full_precision, reduced_precision

__all__ = ["CPU", "PROVIDERS", "Provider", "ProviderChoice", "as_providers", "default_providers"]

CPU = "CPUExecutionProvider"
PROVIDERS = "ONNX_PIPELINE_PROVIDERS"

_EXAMPLE = "CUDAExecutionProvider: {device_id: 0, gpu_mem_limit: 8GB}"
_SIZES = frozenset({"gpu_mem_limit", "trt_max_workspace_size", "migraphx_mem_limit", "nv_max_workspace_size"})
"""Options that are bytes, which may be written as `8GB`."""
_ENABLED_BY_A_FOLDER = {
    "trt_engine_cache_path": "trt_engine_cache_enable",
    "trt_timing_cache_path": "trt_timing_cache_enable",
}
"""A folder that nothing is kept in would be a surprise."""


@dataclass(frozen=True)
class Provider:
    """An execution provider with options of its own."""

    name: str
    options: tuple[tuple[str, str], ...] = ()
    """By name, as ONNX Runtime takes them: texts, `1` for true. Those that were written, and no others."""

    def __str__(self) -> str:
        written = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.name} ({written})" if written else self.name

    @property
    def is_cpu(self) -> bool:
        """Whether it is ONNX Runtime's own, whose answers are the truth here."""
        return self.name == CPU

    @property
    def settings(self) -> dict[str, str]:
        """What ONNX Runtime is told: what was written, and full precision where nothing else was."""
        return full_precision(self.name) | dict(self.options)

    @property
    def reduced(self) -> tuple[str, ...]:
        """What was written that makes its answers less exact: `use_tf32=1`."""
        return reduced_precision(self.name, dict(self.options))


ProviderChoice: TypeAlias = str | Provider | Mapping[str, Mapping[str, Any] | None] | tuple[str, Mapping[str, Any]]
"""A name; or a name with options: `{"CUDAExecutionProvider": {"device_id": 1}}`, or ONNX Runtime's own pair of them."""


def as_providers(given: Iterable[ProviderChoice], *, setting: str = "providers") -> tuple[str | Provider, ...]:
    """The providers in order; a name without options stays a text. `setting` is what messages call the list.

    Raises SpecError for what is no provider, options that are none, and a provider that is named twice.
    """
    if isinstance(given, str | Mapping):
        raise SpecError(f"{setting} is {given!r}, which is no list; write {setting}: [{CPU}], say")
    found: list[str | Provider] = []
    for choice in given:
        name, options = _parted(choice, setting)
        if name in map(_name, found):
            raise SpecError(f"{setting} names {name} twice; write one entry, with all its options")
        found.append(Provider(name, options) if options else name)
    if not found:
        raise SpecError(f"{setting} is empty, so nothing would run a model; write {setting}: [{CPU}], or leave it out")
    return tuple(found)


def default_providers() -> tuple[str | Provider, ...]:
    """What ONNX_PIPELINE_PROVIDERS says, else the CPU's: names with commas between, or a JSON list.

    Raises SpecError as `as_providers` does, and for what is no JSON.
    """
    text = os.environ.get(PROVIDERS, "").strip()
    if not text:
        return (CPU,)
    if text[0] not in "[{":
        return as_providers([name.strip() for name in text.split(",") if name.strip()], setting=PROVIDERS)
    try:
        given = json.loads(text)
    except ValueError as error:
        raise SpecError(
            f"{PROVIDERS} is {text!r}, which is no JSON ({error}); write {PROVIDERS}="
            f'\'[{{"CUDAExecutionProvider": {{"device_id": 0}}}}, "{CPU}"]\', say'
        ) from error
    return as_providers(given if isinstance(given, list) else [given], setting=PROVIDERS)


def _name(provider: str | Provider) -> str:
    return provider if isinstance(provider, str) else provider.name


def _parted(choice: Any, setting: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    if isinstance(choice, Provider):
        return choice.name, choice.options
    if isinstance(choice, str) and choice:
        return choice, ()
    pair = choice
    if isinstance(choice, Mapping) and len(choice) == 1:
        pair = next(iter(choice.items()))
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
        raise SpecError(
            f"{setting} holds {choice!r}, which is no execution provider; write its name, or its name and options: "
            f"{_EXAMPLE}"
        )
    name, options = pair
    if options is None:
        return name, ()
    if not isinstance(options, Mapping):
        raise SpecError(
            f"{setting} gives {name} the options {options!r}, which are no names and values; write {_EXAMPLE}"
        )
    written = {str(option): _value(name, str(option), value, setting) for option, value in options.items()}
    for folder, switch in _ENABLED_BY_A_FOLDER.items():
        if folder in written:
            written.setdefault(switch, "1")
    return name, tuple(sorted(written.items()))


def _value(name: str, option: str, value: Any, setting: str) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str) and option in _SIZES:
        return str(bytes_of(value, setting=f"{option} of {name} in {setting}"))
    if isinstance(value, str | int | float):
        return str(value)
    raise SpecError(
        f"{setting} gives {name} the option {option}={value!r}, and ONNX Runtime takes texts, numbers, true and false; "
        f"write {_EXAMPLE}"
    )
