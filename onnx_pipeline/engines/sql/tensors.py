"""Tensors of a graph that is being compiled: cells of scalar expressions, constants where no row decides them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression, Kind, Scalar

__all__ = ["Array", "Cells", "Tensor", "broadcast", "kind_of"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Cells: TypeAlias = "np.ndarray[Any, Any]"

_KINDS = {"f": Kind.FLOAT, "b": Kind.BOOLEAN, "i": Kind.INTEGER, "u": Kind.INTEGER}


def kind_of(dtype: "np.dtype[Any]") -> Kind:
    """What a tensor of such elements is stored as."""
    if dtype == np.float64:
        return Kind.DOUBLE
    return _KINDS.get(dtype.kind, Kind.TEXT)


@dataclass(frozen=True, eq=False)
class Tensor:
    """One value of the graph. Of `[N, F]` it holds the F expressions of a row: `cells` has the shape `[1, F]`."""

    cells: Cells
    """Expressions; every axis has the tensor's extent, but `rows`, which has 1."""
    dtype: "np.dtype[Any]"
    """Of the elements in ONNX; object for text."""
    rows: int | None
    """The axis of the rows; None: the tensor is the same for every row."""

    @classmethod
    def of_array(cls, array: Array) -> "Tensor":
        """A constant, e.g. a weight."""
        kind = kind_of(array.dtype)
        cells = np.empty(array.shape, object)
        for place in np.ndindex(array.shape):
            cells[place] = algebra.constant(_scalar(array[place]), kind)
        return cls(cells, array.dtype, None)

    @classmethod
    def of_cells(cls, cells: Any, dtype: Any, rows: int | None = 0) -> "Tensor":
        """From nested lists of expressions."""
        return cls(np.asarray(cells, object), np.dtype(dtype), rows)

    @property
    def kind(self) -> Kind:
        """What its elements are stored as."""
        return kind_of(self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row: 1 at the axis of the rows."""
        return tuple(self.cells.shape)

    @cached_property
    def is_constant(self) -> bool:
        """Whether every element is known: no row decides a cell, nor the number of rows."""
        return self.rows is None and all(cell.is_constant for cell in self)

    @cached_property
    def array(self) -> Array:
        """The elements of a constant, in `dtype`."""
        flat = [np.nan if cell.value is None else cell.value for cell in self.cells.ravel()]
        made: Array = np.array(flat, self.dtype).reshape(self.cells.shape)
        return made

    def matrix(self) -> list[Expression]:
        """The cells of one row, for operators that take `[N, F]` or `[N]`. Raises ValueError for other shapes."""
        if self.rows not in (0, None) or self.cells.ndim > 2:
            raise ValueError(f"the shape is {self.described}, and [N, F] is what it takes")
        return list(self.cells.ravel())

    def map(self, each: Callable[[Expression], Expression], dtype: Any = None) -> "Tensor":
        """The same shape with each cell changed."""
        cells = np.empty(self.cells.shape, object)
        cells.ravel()[:] = [each(cell) for cell in self]
        return Tensor(cells, self.dtype if dtype is None else np.dtype(dtype), self.rows)

    def exact(self) -> "Tensor":
        """The same rounded to float32 where ONNX computes in it: what comparisons and conversions see."""
        return self.map(algebra.narrow) if self.dtype == np.float32 else self

    def __iter__(self) -> Iterator[Expression]:
        return iter(self.cells.ravel())

    @property
    def described(self) -> str:
        """The shape for messages: `[N, 3]`."""
        return f"[{', '.join('N' if axis == self.rows else str(size) for axis, size in enumerate(self.cells.shape))}]"


def _scalar(value: Any) -> Scalar:
    if isinstance(value, bytes):
        return value.decode()
    found: Scalar = value.item() if hasattr(value, "item") else value
    return found


def broadcast(*tensors: Tensor) -> tuple[list[Cells], int | None]:
    """Cells of one shape, by ONNX's (numpy's) rule, and the axis of the rows.

    Raises ValueError where rows would meet others.
    """
    rank = max(tensor.cells.ndim for tensor in tensors)
    axes = {tensor.rows + rank - tensor.cells.ndim for tensor in tensors if tensor.rows is not None}
    if len(axes) > 1:
        raise ValueError("the rows of one input would meet the columns of another")
    rows = axes.pop() if axes else None
    cells = np.broadcast_arrays(*(tensor.cells for tensor in tensors))
    if rows is not None and cells[0].shape[rows] != 1:
        raise ValueError("a constant has a value for each of a certain number of rows")
    return list(cells), rows
