"""An accelerator's answers beside the CPU's, on made-up rows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from onnx_pipeline.base.errors import DataError, RuntimeUnavailableError
from onnx_pipeline.models import runtime
from onnx_pipeline.models.batch_dependence.ties import tied
from onnx_pipeline.models.probe_rows import probe_rows, vocabulary
from onnx_pipeline.models.protobuf import parse
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import TensorSignature

__all__ = ["Agreement", "Ask", "compare", "enforce"]

_logger = logging.getLogger(__name__)

Tensors: TypeAlias = Mapping[str, np.ndarray[Any, Any]]
Answers: TypeAlias = Sequence[np.ndarray[Any, Any]]
Ask: TypeAlias = Callable[[Tensors, int], Answers]
"""From input tensors of so many rows to the outputs, in order."""

_ROWS = 512
_HALF = 100.0
"""An output of float16 may differ by so much more than one of float32, as in every comparison of outputs here."""
_WILD = 100.0
"""So much more may answers for wild rows differ: a probability of a score in the thousands moves by its last bits."""
_LEAST = 1e-4
_EDGES = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class Agreement:
    """How far an accelerator's answers are the CPU's."""

    difference: float | None
    """The greatest relative one; None where the model takes no made-up rows."""
    beyond_numbers: bool
    """Whether they also agree for rows with NaN and infinities."""


def enforce(found: Agreement, options: RuntimeOptions, *, source: str) -> Agreement:
    """Raises RuntimeUnavailableError for a difference beyond `options.provider_tolerance`.

    Where reduced precision was asked for it is logged instead, as is what could not be compared.
    """
    names = ", ".join(map(str, options.accelerators))
    if found.difference is None:
        _logger.warning(
            "%s takes no made-up rows, so the answers of %s could not be compared with the CPU's", source, names
        )
    elif found.difference > options.provider_tolerance:
        how = f"the answers of {names} differ from the CPU's by {found.difference:.1e} relative on made-up rows"
        if not options.reduced_precision:
            raise RuntimeUnavailableError(
                f"{source}: {how}, more than {options.provider_tolerance:g}, so its predictions would depend on where "
                "it runs. Run it by CPUExecutionProvider; or look what makes the device less exact "
                "(NVIDIA_TF32_OVERRIDE, weights of float16); or accept the difference by `provider_tolerance` of the "
                "resource `onnx_runtime`"
            )
        _logger.warning("%s: %s, by %s as asked for", source, how, ", ".join(options.reduced_precision))
    return found


def compare(
    model: bytes,
    inputs: Sequence[TensorSignature],
    widths: Sequence[int] | None,
    outputs: Sequence[str],
    ask: Ask,
    options: RuntimeOptions,
    *,
    rows: int | None = None,
) -> Agreement:
    """The answers of `ask` beside those of the model on the CPU.

    `widths` are None where an input's is not known, `rows` is a number that each call must have. A number's difference
    is measured against its value, or the root mean square of its column where that is more; a label that differs
    counts as 1, unless two scores are as good as equal there.
    """
    if widths is None:
        return Agreement(None, beyond_numbers=False)
    cpu = runtime.open_session(model, options.on_cpu(), quiet=True)
    words = vocabulary(parse(model, source="the model"))
    count = rows or _ROWS
    differences: list[float] = []
    for wildness in (0, 1):
        feeds = probe_rows(inputs, widths, words, count, wildness=wildness, seed=4000 + wildness)
        truth = _answers(partial(runtime.run, cpu, outputs, feeds))
        if truth is None:
            continue  # it refuses an unknown category, say: the other rows may do
        apart = _difference(truth, ask(feeds, count), options.provider_tolerance * (_WILD if wildness else 1.0))
        differences.append(apart / _WILD if wildness else apart)
    feeds = probe_rows(inputs, widths, words, count, wildness=0, seed=4000)
    _put_edges(feeds)
    truth = _answers(partial(runtime.run, cpu, outputs, feeds))
    found = None if truth is None else _answers(partial(ask, feeds, count))
    beyond = (
        truth is not None
        and found is not None
        # Whether the same answers are no numbers: of those that are, enough is known.
        and _difference(truth, found, options.provider_tolerance) <= 10 * max(differences, default=0.0) + _LEAST
    )
    return Agreement(max(differences, default=None), beyond)


def _answers(ask: Callable[[], Answers]) -> list[np.ndarray[Any, Any]] | None:
    """None where the model refuses the rows."""
    try:
        return [np.asarray(answer) for answer in ask()]
    except DataError:
        return None


def _put_edges(feeds: Tensors) -> None:
    """In each row of floats one value that is no number: what it does to an answer is not hidden by another."""
    for tensor in feeds.values():
        if tensor.dtype.kind == "f":
            flat = tensor.reshape(len(tensor), -1)
            for row in range(len(flat)):
                flat[row, row % flat.shape[1]] = _EDGES[row // flat.shape[1] % len(_EDGES)]


def _difference(truth: Answers, answers: Answers, tolerance: float) -> float:
    greatest = 0.0
    scores = {str(place): answer for place, answer in enumerate(truth) if answer.dtype.kind == "f"}
    for wanted, got in zip(truth, answers, strict=True):
        if wanted.shape != got.shape:
            return 1.0
        if wanted.dtype.kind == "f":
            greatest = max(greatest, _relative(wanted, got))
        elif (wanted != got).any():
            flipped = (wanted != got).reshape(len(wanted), -1).any(axis=1)
            if scores:
                greatest = max(greatest, float((flipped & ~tied(scores, len(wanted), tolerance)).any()))
            elif flipped.mean() > 1 / 256:  # without scores, a row or two may sit where a rounding decides
                greatest = 1.0
    return greatest


def _relative(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> float:
    half = wanted.dtype == np.float16
    wanted, got = (values.reshape(len(values), -1).astype(np.float64) for values in (wanted, got))
    both = np.isfinite(wanted) & np.isfinite(got)
    alike = (np.isnan(wanted) & np.isnan(got)) | (wanted == got)
    if not (alike | both).all():
        return 1.0
    finite = np.where(both, wanted, 0.0)
    apart = np.where(alike, 0.0, np.abs(finite - np.where(both, got, 0.0)))
    scale = np.maximum(np.abs(finite), np.sqrt(np.mean(finite**2, axis=0, keepdims=True)))
    relative = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
    # A column that is nothing but zeros has no scale but one.
    greatest = float(np.where(scale > 0, relative, apart).max(initial=0.0))
    return greatest / _HALF if half else greatest
