"""Which of a model's columns a scoring leaves in the pool, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from onnx_pipeline.base.rules import is_float
from onnx_pipeline.models.columns_read import BOUND, Holding
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.planned import PlannedModel
from onnx_pipeline.models.signature import TensorSignature
from onnx_pipeline.pools.records import Source
from onnx_pipeline.spec.engines.options import ColumnsRead
from onnx_pipeline.spec.scoring import ScoringSpec

__all__ = ["Unread"]

_DIGITS = 19
"""Of a decimal before the point, as `Holding.NUMBERS` has it."""


@dataclass(frozen=True)
class Unread:
    """Asks the model about columns, and the pool about what they hold where that matters."""

    spec: ScoringSpec
    model: PlannedModel
    source: Source
    outputs: Sequence[OutputColumn]
    """The predictions that are wanted."""

    def why(self, tensor: TensorSignature, index: int, column: str) -> str | None:
        """Why the source's column for a place of the model is not read, as people are told; None where it is."""
        wanted = self.spec.engine.columns_read
        if wanted is ColumnsRead.EVERY:
            return None
        name, reads = tensor.name, self.model.reads
        if not reads(name, index):
            return "it moves no prediction"
        if wanted is ColumnsRead.MOVING:
            return None
        if not reads(name, index, self.outputs):
            return "it moves no prediction that `outputs` names"
        if reads(name, index, self.outputs, Holding.KNOWN_NUMBERS):
            return None
        if is_float(tensor.dtype) and not _holds_numbers(self.source.schema.field(column).type):
            return None
        if not reads(name, index, self.outputs, Holding.NUMBERS):
            return "its weight is zero, and it is never infinite"
        known = not is_float(tensor.dtype) or self._has_stand_in(column) or column in self._never_null
        return "its weight is zero, and it always holds a number" if known else None

    @cached_property
    def _never_null(self) -> frozenset[str]:
        return frozenset(self.source.never_null())

    def _has_stand_in(self, column: str) -> bool:
        given = {name.casefold(): value for name, value in self.spec.nulls.items()}
        value = given.get(column.casefold())
        return isinstance(value, int | float) and abs(value) <= BOUND


def _holds_numbers(arrow: pa.DataType) -> bool:
    """Whether no value of a column is NaN, infinite or larger than `Holding.NUMBERS` says."""
    if pa.types.is_decimal(arrow):
        return bool(arrow.precision - arrow.scale <= _DIGITS)
    return bool(pa.types.is_integer(arrow) or pa.types.is_boolean(arrow))
