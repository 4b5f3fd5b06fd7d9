"""A model as the service holds it: bound to column names, with everything worked out that a request would ask for."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa

from onnx_pipeline.base.errors import DataError, SignatureError
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.calls import Calls
from onnx_pipeline.models.features import Packer
from onnx_pipeline.models.null_policy import unsafe_columns
from onnx_pipeline.models.onnx_model import OnnxModel
from onnx_pipeline.models.outputs import OutputColumn, column_values, output_columns
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import OutputSignature
from onnx_pipeline.serving.pace import Pace
from onnx_pipeline.serving.refusals import Refusal

__all__ = ["BriefJob", "Features", "Job", "NotBriefError", "ServedModel", "Tensors"]

Tensors = Mapping[str, np.ndarray[Any, Any]]
Features = Sequence[str] | Mapping[str, Sequence[str]]
"""Names of the columns of a model's one `[N, F]` input, or of each by the input's name."""


class NotBriefError(Exception):
    """Rows that would hold up the event loop: a thread scores them."""


class Job:
    """One request's scoring, which can be told to stop: ONNX Runtime then ends between two operators."""

    def __init__(self) -> None:
        self._stopped = False
        self.options = ort.RunOptions()

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        self._stopped = True
        self.options.terminate = True

    def go_on(self) -> None:
        """Raises Refusal once the job was stopped."""
        if self._stopped:
            raise Refusal(503, "timed_out", "scoring was stopped", retry_after=1)

    clock = staticmethod(time.thread_time)
    """What its runs are measured by: a thread waits for Python's lock, and for other threads."""

    def check(self, pace: Pace, rows: int) -> None:
        """Whether that many rows may be scored here: in a thread, any."""

    def report(self, pace: Pace, rows: int, seconds: float) -> None:
        """A run of so many rows took so long."""
        pace.took(rows, seconds)


class BriefJob(Job):
    """Scoring on the event loop. Nobody can stop it there, so it is refused where it would take long."""

    clock = staticmethod(time.perf_counter)
    """Whatever passes holds up other requests."""

    def report(self, pace: Pace, rows: int, seconds: float) -> None:
        pace.held_up(rows, seconds)

    def check(self, pace: Pace, rows: int) -> None:
        """Raises NotBriefError for a run that is not known to be brief."""
        if not pace.is_brief(rows):
            raise NotBriefError


@dataclass(frozen=True)
class ServedModel:
    """One version of a model, ready to score. All methods may be called from several threads."""

    name: str
    uri: str
    model: OnnxModel
    binding: Binding
    unnamed: frozenset[str]
    """Columns of `[N, F]` inputs that nobody named: they have names made of the input's and their place, `X_0`."""
    outputs: tuple[OutputColumn, ...]
    options: RuntimeOptions

    @classmethod
    def of(
        cls, name: str, uri: str, model: OnnxModel, options: RuntimeOptions, features: Features | None = None
    ) -> "ServedModel":
        """Binds the model. `features` names the columns of an `[N, F]` input, in the order of training.

        Raises SignatureError for a model whose columns cannot be told, and for `features` that do not fit it.
        """
        matrices = [tensor for tensor in model.signature.inputs if tensor.is_matrix]
        named = _by_input(features, [tensor.name for tensor in matrices], source=name)
        brings_names = bool(model.feature_names) and len(matrices) == 1
        places = {
            tensor.name: [f"{tensor.name}_{index}" for index in range(tensor.width)]
            for tensor in matrices
            if tensor.width is not None and tensor.name not in named and not brings_names
        }
        binding = model.bind({**named, **places})
        served = cls(
            name=name,
            uri=uri,
            model=model,
            binding=binding,
            unnamed=frozenset(column for columns in places.values() for column in columns),
            outputs=output_columns(model.signature),
            options=options,
        )
        _ = served._calls, served.pace
        return served

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(self.binding.columns)

    @cached_property
    def dtypes(self) -> dict[str, str]:
        """ONNX Runtime's element type of each feature."""
        return self.binding.columns

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the predictions, in order."""
        return tuple(column.name for column in self.outputs)

    @cached_property
    def unread(self) -> frozenset[str]:
        """Columns that move no prediction, whatever stands in them."""
        moving = {
            column
            for bound in self.inputs
            for place, column in enumerate(bound.columns)
            if self.model.reads(bound.tensor.name, place, self.outputs)
        }
        # Rows are counted by some column.
        return frozenset(self.binding.columns) - moving if moving else frozenset()

    @cached_property
    def _read(self) -> Binding:
        return Binding(
            tuple(
                replace(bound, unread=frozenset(i for i, name in enumerate(bound.columns) if name in self.unread))
                for bound in self.inputs
            )
        )

    @cached_property
    def read(self) -> tuple[str, ...]:
        """Names of the features that the packer wants."""
        return tuple(self._read.columns)

    @cached_property
    def unsafe(self) -> Mapping[str, str]:
        """Columns in which a missing value would silently mislead → what it would mislead."""
        labels = {
            column: f"the output {output!r} has no form for a missing value: such rows would get a label as if all "
            "were known"
            for column, output in self._labelled.items()
        }
        return labels | dict.fromkeys(
            unsafe_columns(self._read, self.model.unsafe_nulls),
            "the model's trees were exported without tracking of missing values: they would take another branch than "
            "in training",
        )

    @cached_property
    def unsafe_even_so(self) -> Mapping[str, str]:
        """Those of them in which nobody can accept it, because no prediction would show it."""
        if self.model.labelled(self.outputs).beside_floats:
            return {}
        return {column: self.unsafe[column] for column in self._labelled}

    @cached_property
    def _labelled(self) -> Mapping[str, str]:
        return self.model.labelled(self.outputs).columns(self._read)

    def refused_missing(self, *, accept_nan: bool) -> Mapping[str, str]:
        """Columns in which a request may leave nothing missing → why."""
        return self.unsafe_even_so if accept_nan else self.unsafe

    @cached_property
    def answer_schema(self) -> pa.Schema:
        """Of predictions as Arrow."""
        return pa.schema([pa.field(column.name, column.arrow) for column in self.outputs])

    @cached_property
    def packer(self) -> Packer:
        """From one batch of the features in `read` to input tensors."""
        return Packer(self._read)

    @cached_property
    def pace(self) -> Pace:
        """How long its runs take."""
        return Pace(self.model.operators, self.options)

    @cached_property
    def _calls(self) -> Calls:
        return self.model.calls(self._graph_outputs, self.options, source=self.uri)

    @cached_property
    def _graph_outputs(self) -> list[str]:
        return list(dict.fromkeys(column.output for column in self.outputs))

    @cached_property
    def inputs(self) -> tuple[InputBinding, ...]:
        """Each input tensor with its columns."""
        return self.binding.inputs

    @cached_property
    def one_matrix(self) -> str | None:
        """The input's name where the only one is an `[N, F]` tensor over all columns in order."""
        (first, *others) = self.inputs
        whole = not others and first.tensor.is_matrix and first.columns == self.columns
        return first.tensor.name if whole else None

    def run(self, feeds: Tensors, rows: int, job: Job) -> dict[str, np.ndarray[Any, Any]]:
        """The output tensors, by name, from whole input tensors.

        Raises DataError for rows that the model refuses, and NotBriefError for those that the job must not score.
        """
        if rows == 0:
            return {output.name: _empty(output) for output in self.model.signature.outputs}
        job.check(self.pace, rows)
        started = job.clock()
        try:
            answers = self._calls(feeds, rows, options=job.options, before=job.go_on)
        except DataError:
            job.go_on()
            raise
        job.report(self.pace, rows, job.clock() - started)
        return dict(zip(self._graph_outputs, answers, strict=True))

    def predictions(self, tensors: Tensors, rows: int) -> list[np.ndarray[Any, Any]]:
        """One array of `[rows]` per prediction, from output tensors; float16 becomes float32."""
        return [column_values(tensors[column.output], rows, column) for column in self.outputs]


def _by_input(features: Features | None, matrices: Sequence[str], *, source: str) -> dict[str, Sequence[str]]:
    if features is None:
        return {}
    if isinstance(features, Mapping):
        return dict(features)
    if len(matrices) != 1:
        raise SignatureError(
            f"--features lists columns for {source}, which has {len(matrices)} inputs of several columns; write a file "
            f'of {{"{source}": {{"<input>": ["<column>", ...]}}}}, and name the file'
            if matrices
            else f"--features lists columns for {source}, none of whose inputs takes several: they have names already"
        )
    return {matrices[0]: list(features)}


def _empty(output: OutputSignature) -> np.ndarray[Any, Any]:
    dtype = column_type_of_onnx(output.dtype, tensor=output.name).numpy
    return np.empty((0, *(size or 0 for size in output.shape[1:])), dtype)
