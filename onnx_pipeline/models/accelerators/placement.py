"""Which models an accelerator has kernels for."""

import logging
import threading
from collections.abc import Iterable

from onnx_pipeline.models.runtime import RuntimeOptions

__all__ = ["cpu_only", "placed"]

_logger = logging.getLogger(__name__)

_CLASSICAL = frozenset(
    f"ai.onnx.ml.{name}"
    for name in (
        "LinearClassifier",
        "LinearRegressor",
        "SVMClassifier",
        "SVMRegressor",
        "TreeEnsemble",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
    )
)
"""Operators that do a model's work and that the CPU's provider alone has kernels for:
https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md
"""
_DENSE = frozenset({"Conv", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QLinearMatMul", "RNN"})
"""Operators that are worth a device."""

_lock = threading.Lock()
_told: set[str] = set()


def cpu_only(operators: Iterable[str]) -> tuple[str, ...]:
    """The operators that keep a model on the CPU; none where it does other work that is worth a device.

    `operators` are those of `OnnxModel.operators`.
    """
    known = frozenset(operators)
    return () if known & _DENSE else tuple(sorted(known & _CLASSICAL))


def placed(options: RuntimeOptions, operators: Iterable[str], sha256: str) -> RuntimeOptions:
    """The options that a model runs by: those of the CPU where no accelerator would compute it.

    On a device, each such operator would be two copies of all rows, to the host and back. Says so once per model.
    """
    held = cpu_only(operators) if options.accelerators else ()
    if not held:
        return options
    with _lock:
        first = sha256 not in _told
        _told.add(sha256)
    if first:
        names = ", ".join(provider.name for provider in options.accelerators)
        _logger.warning(
            "model %s runs on the CPU: %s has no kernels for %s, and its rows would be copied to the device and back",
            sha256[:12],
            names,
            ", ".join(name.removeprefix("ai.onnx.ml.") for name in held),
        )
    return options.on_cpu()
