"""Which columns travel to the service and back, under which names and types."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onnx_pipeline.base.arrow import mask, scalar, to_numpy
from onnx_pipeline.models.binding import Binding
from onnx_pipeline.models.fitting import fit, nan_as_null
from onnx_pipeline.models.null_policy import StandIn, formless_null, stand_ins
from onnx_pipeline.models.outputs import OutputColumn, output_columns
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.signature import TensorSignature

__all__ = ["Layout", "WireInput", "numbers"]


@dataclass(frozen=True)
class WireInput:
    """One model input: its columns in staging, and what they are called on the wire."""

    tensor: TensorSignature
    staged: tuple[str | None, ...]
    """None for a column that moves no prediction, and stayed in the pool."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The columns of requests and answers."""

    inputs: tuple[WireInput, ...]
    answered: tuple[OutputColumn, ...]
    """All that the model answers, in its order, under the names of the wire."""
    wanted: tuple[int, ...]
    """Places in `answered` of the columns that the scoring keeps, in its order."""
    stand_ins: Mapping[str, StandIn]
    in_order: bool
    """Whether an input's columns travel under other names than the model's: their order says what they are."""

    @classmethod
    def of(
        cls, model: PlannedModel, binding: Binding, outputs: Sequence[OutputColumn], nulls: Mapping[str, StandIn]
    ) -> "Layout":
        """The layout of a scoring.

        A scalar input travels under its own name, an `[N, F]` one as columns under the names that the model gives
        them, else under those of the columns that feed them.
        """
        used = {column.output for column in outputs}
        known = [output.name for output in model.signature.outputs if output.width is not None or output.name in used]
        answered = output_columns(model.signature, {name: name for name in known})
        places = {(column.output, column.index): place for place, column in enumerate(answered)}
        wanted = tuple(places[column.output, column.index] for column in outputs)
        inputs = _inputs(model, binding)
        own = model.feature_names or ()
        in_order = any(place.tensor.is_matrix and place.names != tuple(own) for place in inputs)
        return cls(inputs, answered, wanted, stand_ins(binding, nulls), in_order)

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns that travel, in order."""
        return [name for place in self.inputs for name in place.names]

    @property
    def expected(self) -> list[str]:
        """Names of the columns that an answer has."""
        return [column.name for column in self.answered]

    @property
    def accepts_nan(self) -> bool:
        """Whether `nulls` says of some column that NaN is a value like any other."""
        return any(isinstance(value, float) and math.isnan(value) for value in self.stand_ins.values())

    def columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The batch's feature columns as they travel: in the tensors' dtypes, with what `nulls` says in place of NULL.
        One that stayed in the pool is of the type null, which takes no bytes.

        Where it says nothing, a missing value travels as NULL in floats, NaN too: a service may treat them otherwise.
        Raises NullFeatureError in other dtypes, FeatureValueError for a value that the dtype cannot hold.
        """
        return [
            pa.nulls(batch.num_rows)
            if staged is None
            else _filled(batch.column(staged), staged, place.tensor.dtype, self.stand_ins.get(staged))
            for place in self.inputs
            for staged in place.staged
        ]


def _inputs(model: PlannedModel, binding: Binding) -> tuple[WireInput, ...]:
    matrices = [bound for bound in binding.inputs if bound.tensor.is_matrix]
    made = []
    for bound in binding.inputs:
        names = bound.columns if bound.tensor.is_matrix else (bound.tensor.name,)
        own = model.feature_names
        if own is not None and len(matrices) == 1 and bound is matrices[0] and len(own) == len(bound.columns):
            names = own
        made.append((bound, names))
    every = [name for _, names in made for name in names]
    if len(set(every)) < len(every):
        # A column that feeds two places would travel twice under one name.
        made = [(bound, tuple(_placed(bound.tensor, len(names)))) for bound, names in made]
    return tuple(WireInput(bound.tensor, bound.fed, names) for bound, names in made)


def _placed(tensor: TensorSignature, width: int) -> list[str]:
    return [f"{tensor.name}_{index}" for index in range(width)] if tensor.is_matrix else [tensor.name]


def _filled(array: pa.Array, column: str, dtype: str, stand_in: StandIn | None) -> pa.Array:
    array = nan_as_null(fit(array, column, dtype))
    if not array.null_count:
        return array
    if stand_in is None:
        if not pa.types.is_floating(array.type):
            raise formless_null(column, dtype, array.null_count)
        return array
    return pc.fill_null(array, scalar(stand_in, array.type))


def numbers(array: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers or booleans as `[N]`; NULL is NaN."""
    values = np.ascontiguousarray(to_numpy(array))
    if array.null_count:
        values = values.copy()
        values[mask(array)] = np.nan
    return values
