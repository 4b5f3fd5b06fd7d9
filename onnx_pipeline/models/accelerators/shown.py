"""What people are shown of a model's run on an accelerator."""

from collections.abc import Iterable

from onnx_pipeline.models.accelerators.opened import known_difference
from onnx_pipeline.models.accelerators.placement import cpu_only
from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["shown"]


def shown(sha256: str, operators: Iterable[str], options: RuntimeOptions) -> dict[str, str | float]:
    """`providers`, `difference_from_cpu` once that was measured, and `reduced_precision` where it was asked for."""
    held = cpu_only(operators)
    if held:
        names = ", ".join(provider.name for provider in options.accelerators)
        lacking = ", ".join(name.removeprefix("ai.onnx.ml.") for name in held)
        return {"providers": f"CPUExecutionProvider: {names} has no kernels for {lacking}"}
    found: dict[str, str | float] = {"providers": ", ".join(map(str, options.chosen))}
    difference = known_difference(sha256, options)
    if difference is not None:
        found["difference_from_cpu"] = difference
    if options.reduced_precision:
        found["reduced_precision"] = ", ".join(options.reduced_precision)
    return found
