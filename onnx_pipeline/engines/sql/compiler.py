"""A model as expressions over the columns that feed it: what the engine lands, and what `sql compile` prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pyarrow as pa

from onnx_pipeline.base.errors import NotCompilableError
from onnx_pipeline.base.types import column_type_of_onnx
from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.graph import compile_graph
from onnx_pipeline.engines.sql.tensors import Tensor, kind_of
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.null_policy import StandIn, stand_ins
from onnx_pipeline.models.outputs import OutputColumn

__all__ = ["CompiledModel", "compile_model"]


@dataclass(frozen=True)
class CompiledModel:
    """Predictions as expressions."""

    outputs: Mapping[str, Expression]
    """By the name of the target's column, in the order in which they were asked for."""
    origins: Mapping[Expression, str] = field(default_factory=dict, repr=False)
    """The node that an expression comes from."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide a prediction; the model may read others."""
        found = {str(each.value): None for each in in_order(list(self.outputs.values())) if each.op == "column"}
        return tuple(found)

    def nodes_of(self, expression: Expression, *, ends_at: Callable[[Expression], bool]) -> list[str]:
        """The nodes that an expression comes from, the first one first; below `ends_at` nothing is looked at."""
        below = in_order([expression], ends_at=lambda each: each is not expression and ends_at(each))
        return list(dict.fromkeys(self.origins[each] for each in below if each in self.origins))


def compile_model(
    model: bytes,
    binding: Binding,
    outputs: Sequence[OutputColumn],
    *,
    nulls: Mapping[str, StandIn] | None = None,
    never_missing: Sequence[str] = (),
    stores_nan: bool = True,
) -> CompiledModel:
    """Compile a normalised model (`OnnxModel.normalised`).

    `never_missing` are columns in which no NULL or NaN gets as far as a prediction; `stores_nan` says whether the
    database has NaN. Raises NotCompilableError for a model that has no form in SQL.
    """
    standing = stand_ins(binding, nulls)
    fed = {
        bound.tensor.name: _fed(bound, binding, standing, frozenset(never_missing), stores_nan)
        for bound in binding.inputs
    }
    proto = onnx.load_model_from_string(model)
    origins: dict[Expression, str] = {}
    made = compile_graph(proto, fed, tuple(dict.fromkeys(column.output for column in outputs)), origins)
    return CompiledModel({column.name: _taken(made[column.output], column) for column in outputs}, origins)


def _fed(
    bound: InputBinding,
    binding: Binding,
    standing: Mapping[str, StandIn],
    never_missing: frozenset[str],
    stores_nan: bool,
) -> Tensor:
    dtype = _dtype(bound.tensor.dtype, bound.tensor.name)
    cells = []
    for place, name in enumerate(bound.columns):
        if place in bound.unread:
            cells.append(algebra.constant("" if dtype.kind == "O" else 0, kind_of(dtype)))
            continue
        source = kind_of(_dtype(binding.columns[name], name))
        missing = name not in never_missing or name in standing
        cell = algebra.column(name, source, missing=missing, nan=stores_nan and missing and source.is_float)
        if name in standing:
            cell = conditions.case([(conditions.is_missing(cell), algebra.constant(standing[name], source))], cell)
        cells.append(_as_kind(cell, kind_of(dtype)))
    shape = (1, len(cells)) if bound.tensor.is_matrix or len(bound.tensor.shape) > 1 else (1,)
    return Tensor.of_cells(np.array(cells, object).reshape(shape), dtype)


def _dtype(name: str, tensor: str) -> "np.dtype[Any]":
    if name == "float16":
        raise NotCompilableError(f"{tensor!r} is of float16, which no pool computes in; score by `kind: onnxruntime`")
    dtype = column_type_of_onnx(name, tensor=tensor).numpy
    return np.dtype(object) if dtype is None else dtype


def _as_kind(cell: Expression, kind: Kind) -> Expression:
    """What packing would make of a column that feeds inputs of several dtypes."""
    if cell.kind is kind:
        return cell
    convert = {Kind.FLOAT: algebra.narrow, Kind.DOUBLE: algebra.as_double, Kind.INTEGER: algebra.as_integer}
    return convert[kind](cell)


def _taken(tensor: Tensor, column: OutputColumn) -> Expression:
    cells = list(tensor)
    cell = cells[0] if column.index is None else cells[column.index]
    if tensor.rows is None:
        return cell
    if tensor.rows != 0 or tensor.cells.ndim > 2:
        raise NotCompilableError(f"output {column.output!r} has the shape {tensor.described}, which makes no column")
    return algebra.narrow(cell) if column.arrow == pa.float32() else cell
