"""Where one batch lies on its way: columns, their copy on the device, and the answers."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime as ort

from onnx_pipeline.base.onnx_types import element_type
from onnx_pipeline.models.accelerators.cuda import Runtime
from onnx_pipeline.models.runtime_errors import PROVIDER_ERRORS, at_run
from onnx_pipeline.models.signature import OutputSignature

__all__ = ["UNDER_WAY", "Slot", "Slots"]

Tensor = np.ndarray[Any, Any]

UNDER_WAY = 3
"""Batches at once: while one is on the device, the next is packed and the answers of the last are unpacked.

On one H200 a network of 64 x 2 scored 38 million rows a second with one under way, 49 with two, 51 with three and 53
with four; one of 512 x 3 16, 27, 29 and 29.
"""


class Slots:
    """As many slots as batches are under way, made when they are first needed, and lent to one thread at a time."""

    def __init__(self, make: Callable[[], "Slot"]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._may_make = threading.Semaphore(UNDER_WAY)

    @contextmanager
    def lent(self) -> "Iterator[Slot]":
        """A slot, once one is free. Raises OutOfMemoryError where there is no memory for it."""
        slot = self._taken()
        try:
            yield slot
        finally:
            self._idle.put(slot)

    def _taken(self) -> "Slot":
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        if self._may_make.acquire(blocking=False):
            try:
                return self._make()
            except BaseException:
                self._may_make.release()
                raise
        return self._idle.get()


class Slot:
    """Buffers for one batch of up to `rows` rows, bound to a session that takes `[C, N]`. For one thread at a time.

    With CUDA's library they are page-locked, and the columns are copied to the device before the session runs; without
    it ONNX Runtime copies what needs copying.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        name: str,
        columns: int,
        dtype: "np.dtype[Any]",
        outputs: Sequence[OutputSignature],
        *,
        rows: int,
        cuda: Runtime | None,
        device: int,
    ) -> None:
        self._session = session
        self._name = name
        self._columns = columns
        self._dtype = dtype
        self._outputs = outputs
        self._cuda = cuda
        self._device = device
        self._binding = session.io_binding()
        size = columns * rows * dtype.itemsize
        self._whole = self._memory(size)
        self._answers = [self._memory(rows * (output.width or 0) * _kind(output).itemsize) for output in outputs]
        self._there = None if cuda is None else self._on_device(rows)

    def _memory(self, size: int) -> Tensor:
        if self._cuda is None:
            return np.empty(size, np.uint8)
        self._cuda.use(self._device)
        return self._cuda.pinned(size)

    def _on_device(self, rows: int) -> ort.OrtValue:
        try:
            return ort.OrtValue.ortvalue_from_shape_and_type(
                [self._columns, rows], self._dtype.type, "cuda", self._device
            )
        except PROVIDER_ERRORS as error:
            raise at_run(error, rows) from error

    def columns(self, rows: int) -> Tensor:
        """`[C, rows]` to be filled: each row of it is one column of features."""
        size = self._columns * rows * self._dtype.itemsize
        return self._whole[:size].view(self._dtype).reshape(self._columns, rows)

    def run(self, rows: int) -> list[Tensor]:
        """The outputs for what `columns` was filled with, valid until the next call. Raises as `runtime.run` does."""
        filled = self.columns(rows)
        try:
            if self._cuda is None or self._there is None:
                self._binding.bind_cpu_input(self._name, filled)
            else:
                self._cuda.use(self._device)
                address = self._there.data_ptr()
                self._cuda.to_device(address, filled)
                self._binding.bind_input(self._name, "cuda", self._device, self._dtype.type, filled.shape, address)
            answers = [
                self._bound(output, memory, rows) for output, memory in zip(self._outputs, self._answers, strict=True)
            ]
            self._session.run_with_iobinding(self._binding, _quiet())
        except PROVIDER_ERRORS as error:
            raise at_run(error, rows) from error
        if all(answer is not None for answer in answers):
            return [answer for answer in answers if answer is not None]
        given = self._binding.get_outputs()
        return [value.numpy() if answer is None else answer for answer, value in zip(answers, given, strict=True)]

    def _bound(self, output: OutputSignature, memory: Tensor, rows: int) -> Tensor | None:
        """Where the answer will lie; None where ONNX Runtime makes the place, since the output's width is not known."""
        if output.width is None:
            self._binding.bind_output(output.name, "cpu")
            return None
        kind = _kind(output)
        shape = (rows,) if len(output.shape) == 1 else (rows, output.width)
        answer = memory[: rows * output.width * kind.itemsize].view(kind).reshape(shape)
        self._binding.bind_output(output.name, "cpu", 0, kind.type, shape, answer.ctypes.data)
        return answer


def _kind(output: OutputSignature) -> "np.dtype[Any]":
    return np.dtype(element_type(output.dtype, tensor=output.name))


def _quiet() -> ort.RunOptions:
    options = ort.RunOptions()
    options.log_severity_level = 4  # all of it is in the exception
    return options
