"""Cast and CastLike: values of another type. https://onnx.ai/onnx/operators/onnx__Cast.html"""

from typing import Any

import numpy as np
import onnx

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor, kind_of

__all__ = ["cast", "cast_like"]

_LARGEST = 8
"""Bytes of a whole number."""


def cast(node: Node) -> Tensor:
    """To the type `to`: a float is cut towards zero, and whatever is not 0 is true."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attribute("to")))
    if dtype.kind not in "biufO" or dtype == np.float16:
        raise node.refused(f"to {dtype}, which no pool has")
    return _as(node, dtype)


def cast_like(node: Node) -> Tensor:
    """To the type of the second input."""
    return _as(node, node[1].dtype)


def _as(node: Node, dtype: "np.dtype[Any]") -> Tensor:
    source = node[0].kind
    kind = kind_of(dtype)
    if Kind.TEXT in (source, kind) and source is not kind and Kind.INTEGER not in (source, kind):
        raise node.refused(f"from {node[0].dtype} to {'string' if kind is Kind.TEXT else dtype} has no form in SQL")
    return node[0].exact().map(lambda cell: _within(converted(cell, kind), node[0].dtype, dtype), dtype)


def _within(cell: Expression, source: "np.dtype[Any]", dtype: "np.dtype[Any]") -> Expression:
    """A whole number beyond a narrower type counts on from its other end, as in two's complement."""
    if source.kind not in "iu" or dtype.kind not in "iu" or np.can_cast(source, dtype) or dtype.itemsize == _LARGEST:
        return cell
    size, bounds = algebra.integer(2 ** (8 * dtype.itemsize)), np.iinfo(dtype)
    rest = algebra.remainder(cell, size)
    low, high = algebra.integer(int(bounds.min)), algebra.integer(int(bounds.max))
    return conditions.case(
        [
            (conditions.beyond(rest, high), algebra.subtract(rest, size)),
            (conditions.below(rest, low), algebra.add(rest, size)),
        ],
        rest,
    )


def converted(cell: Expression, kind: Kind) -> Expression:
    """A value as another kind, as ONNX's Cast has it."""
    if cell.kind is kind:
        return cell
    if cell.kind is Kind.BOOLEAN:
        return conditions.case([(cell, algebra.constant(1, kind))], algebra.constant(0, kind))
    if kind is Kind.BOOLEAN:
        return conditions.differs(cell, algebra.constant(0, cell.kind))
    return {
        Kind.FLOAT: algebra.narrow,
        Kind.DOUBLE: algebra.as_double,
        Kind.INTEGER: algebra.as_integer,
        Kind.TEXT: algebra.as_text,
    }[kind](cell)
