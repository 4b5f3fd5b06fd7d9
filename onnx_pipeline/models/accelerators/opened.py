"""A model opened on an accelerator: compared with the CPU once per process, and put right where it differs."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.models import runtime
from onnx_pipeline.models.accelerators.agreement import Agreement, Ask, compare, enforce
from onnx_pipeline.models.accelerators.beyond_numbers import Tensors, put_right, rows_beyond, rows_beyond_in_columns
from onnx_pipeline.models.accelerators.column_scorer import ColumnScorer
from onnx_pipeline.models.accelerators.columns_form import columns_form, has_columns_form
from onnx_pipeline.models.accelerators.cuda import runtime_library
from onnx_pipeline.models.accelerators.slots import Slot, Slots
from onnx_pipeline.models.calls import Calls
from onnx_pipeline.models.features import Packer
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import OutputSignature, TensorSignature

__all__ = ["AcceleratedCalls", "Subject", "accelerated", "column_scorer", "known_difference", "takes_columns"]

Tensor = np.ndarray[Any, Any]

_logger = logging.getLogger(__name__)
_COLUMNS_ON = "CUDAExecutionProvider"
_KEPT = 64
_MODELS_WITH_SLOTS = 2

_lock = threading.Lock()
_agreements: OrderedDict[tuple[str, RuntimeOptions, tuple[str, ...], bool], Agreement] = OrderedDict()
_kept_slots: OrderedDict[tuple[Any, ...], Slots] = OrderedDict()
_forms: OrderedDict[str, tuple[bytes, str]] = OrderedDict()


@dataclass(frozen=True)
class Subject:
    """What opening a model takes to know of it."""

    normalised: bytes
    sha256: str
    inputs: Sequence[TensorSignature]
    widths: Sequence[int] | None
    """How many columns each input has; None where that is not known."""
    outputs: Sequence[OutputSignature]
    """Those that are wanted."""
    fixed_batch: int | None
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)


class AcceleratedCalls(Calls):
    """Runs a model on an accelerator over packed rows."""

    def __init__(
        self, session: ort.InferenceSession, outputs: Sequence[str], *, rows: int, fixed_batch: int | None, cpu: Calls
    ) -> None:
        """`cpu` runs the same model on the CPU."""
        super().__init__(session, outputs, rows=rows, fixed_batch=fixed_batch)
        self._cpu = cpu
        self.asks_cpu = False
        """Whether rows with NaN and infinities are the CPU's."""

    def __call__(
        self,
        feeds: Tensors,
        rows: int,
        *,
        options: ort.RunOptions | None = None,
        before: Callable[[], None] | None = None,
    ) -> list[Tensor]:
        answers = super().__call__(feeds, rows, options=options, before=before)
        if self.asks_cpu:
            found = rows_beyond(feeds)
            taken = {name: tensor[found] for name, tensor in feeds.items()} if len(found) else {}
            put_right(answers, found, lambda: self._cpu(taken, len(found), options=options, before=before))
        return answers


def accelerated(subject: Subject, options: RuntimeOptions, *, rows: int, wide: bool) -> AcceleratedCalls:
    """The model on its accelerator, by packed rows.

    Raises RuntimeUnavailableError where its answers miss the CPU's, as `agreement.enforce` does.
    """
    session = runtime.session(subject.normalised, subject.sha256, options, source=subject.source, wide=wide)
    calls = AcceleratedCalls(
        session, subject.names, rows=rows, fixed_batch=subject.fixed_batch, cpu=_on_cpu(subject, options, rows, wide)
    )
    calls.asks_cpu = not _agreement(subject, options, calls, by_columns=False).beyond_numbers
    return calls


def takes_columns(subject: Subject, options: RuntimeOptions) -> bool:
    """Whether rows get to the device column by column."""
    return bool(options.accelerators) and options.accelerators[0].name == _COLUMNS_ON and _has_columns_form(subject)


def column_scorer(
    subject: Subject,
    packer: Packer,
    wanted: Sequence[OutputColumn],
    options: RuntimeOptions,
    *,
    rows: int,
    check: Callable[[pa.RecordBatch], None],
) -> ColumnScorer:
    """The model on its accelerator, by columns; on the CPU's provider, too, where that is asked for. Raises as
    `accelerated` does.
    """
    if subject.widths is None or not _has_columns_form(subject):
        raise ValueError(f"{subject.source} has no form that takes columns")
    widths = subject.widths
    data, name = _form(subject, widths)
    # A session of its own, since rows of the two forms may lie differently on the device.
    session = runtime.session(data, f"{subject.sha256} by columns", options, source=subject.source)
    dtype = element_type(subject.inputs[0].dtype, tensor=subject.inputs[0].name)
    device = _device(options)
    on_device = bool(options.accelerators) and options.accelerators[0].name == _COLUMNS_ON
    cuda = runtime_library() if on_device else None

    def make(size: int) -> Slot:
        return Slot(session, name, sum(widths), dtype, subject.outputs, rows=size, cuda=cuda, device=device)

    slots = _slots((subject.sha256, subject.names, tuple(widths), options, rows), lambda: make(rows))

    def ask(feeds: Tensors, size: int) -> list[Tensor]:
        slot = make(size)  # there may be more made-up rows than a call takes
        slot.columns(size)[:] = np.concatenate([_as_columns(feeds[tensor.name]) for tensor in subject.inputs])
        return slot.run(size)

    agreed = _agreement(subject, options, ask, by_columns=True) if options.accelerators else None
    cpu = _on_cpu(subject, options, rows, False)

    def finish(columns: Tensor, answers: list[Tensor]) -> None:
        if agreed is None or agreed.beyond_numbers:
            return
        found = rows_beyond_in_columns(columns)
        put_right(answers, found, lambda: cpu(_as_tensors(subject.inputs, widths, columns[:, found]), len(found)))

    return ColumnScorer(slots, packer, subject.names, wanted, rows=rows, check=check, finish=finish)


def known_difference(sha256: str, options: RuntimeOptions) -> float | None:
    """The greatest difference from the CPU that was found for a model by these options; None where nobody looked."""
    with _lock:
        found = [
            agreement.difference
            for (model, by, _, _), agreement in _agreements.items()
            if model == sha256 and by == options and agreement.difference is not None
        ]
    return max(found, default=None)


def _has_columns_form(subject: Subject) -> bool:
    return (
        subject.fixed_batch is None
        and has_columns_form(subject.inputs, subject.widths)
        and all(output.dtype != "string" for output in subject.outputs)
    )


def _agreement(subject: Subject, options: RuntimeOptions, ask: Ask, *, by_columns: bool) -> Agreement:
    key = (subject.sha256, options, subject.names, by_columns)
    with _lock:
        found = _agreements.get(key)
    if found is None:
        # Outside of the lock: two threads that both look find the same, and others need not wait.
        found = compare(
            subject.normalised,
            subject.inputs,
            subject.widths,
            subject.names,
            ask,
            options,
            rows=subject.fixed_batch,
        )
        enforce(found, options, source=subject.source)
        with _lock:
            _agreements[key] = found
            while len(_agreements) > _KEPT:
                _agreements.popitem(last=False)
    return found


def _form(subject: Subject, widths: Sequence[int]) -> tuple[bytes, str]:
    key = f"{subject.sha256} {list(widths)}"
    with _lock:
        if key not in _forms:
            _forms[key] = columns_form(subject.normalised, subject.inputs, widths, source=subject.source)
            while len(_forms) > 1:
                _forms.popitem(last=False)
        return _forms[key]


def _on_cpu(subject: Subject, options: RuntimeOptions, rows: int, wide: bool) -> Calls:
    session = runtime.session(subject.normalised, subject.sha256, options.on_cpu(), source=subject.source, wide=wide)
    return Calls(session, subject.names, rows=rows, fixed_batch=subject.fixed_batch)


def _slots(key: tuple[Any, ...], make: Callable[[], Slot]) -> Slots:
    """Those of the models scored last: page-locked memory takes milliseconds to get."""
    with _lock:
        if key not in _kept_slots:
            _kept_slots[key] = Slots(make)
            while len(_kept_slots) > _MODELS_WITH_SLOTS:
                _kept_slots.popitem(last=False)
        _kept_slots.move_to_end(key)
        return _kept_slots[key]


def _device(options: RuntimeOptions) -> int:
    for provider in options.accelerators:
        settings = provider.settings
        if "device_id" in settings:
            try:
                return int(settings["device_id"])
            except ValueError as error:
                raise SpecError(
                    f"device_id is {settings['device_id']!r}, which is no number of a device; write device_id: 0, say"
                ) from error
    return 0


def _as_columns(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1).T


def _as_tensors(inputs: Sequence[TensorSignature], widths: Sequence[int], columns: Tensor) -> dict[str, Tensor]:
    feeds: dict[str, Tensor] = {}
    start = 0
    for tensor, width in zip(inputs, widths, strict=True):
        part = columns[start : start + width]
        feeds[tensor.name] = np.ascontiguousarray(part.T if len(tensor.shape) == 2 else part[0])
        start += width
    return feeds
