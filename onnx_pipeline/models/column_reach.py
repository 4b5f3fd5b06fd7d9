"""How large the values of each column of a tensor may become, where one column of a source is all that it is made of.

What a zero weight needs to know: 0 × x is 0 for every number, and NaN where x is NaN or infinite.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnx_pipeline.models.columns_read import BOUND

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["Reach", "Reaches", "attribute", "constants_of", "reached"]

_LARGEST = 1e38
"""What float32 holds, with room for rounding."""
_LEAST = 1.0


@dataclass(frozen=True)
class Reach:
    """What a cell may be, where the source's column holds numbers up to `BOUND`, or NULL."""

    bound: float
    may_be_missing: bool


Reaches: TypeAlias = tuple[Reach | None, ...]
"""By column; None: several columns may move it, or nobody knows how large it becomes."""
Constants: TypeAlias = "Callable[[str], np.ndarray[Any, Any] | None]"

_LESSENING = frozenset({"Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Round"})
_UP_TO_ONE = frozenset({"Binarizer", "Erf", "Sigmoid", "Sign", "Tanh"})
_NARROW = frozenset({"FLOAT16", "BFLOAT16"})


def attribute(node: "NodeProto", name: str, default: Any = None) -> Any:
    """An attribute's value."""
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(each) for each in node.attribute if each.name == name), default)


def constants_of(graph: "GraphProto") -> Constants:
    """A function from a name to what the graph holds under it for every row: an initializer, or a Constant."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], each.t) for each in node.attribute if each.name == "value")

    def constant(name: str) -> "np.ndarray[Any, Any] | None":
        return numpy_helper.to_array(tensors[name]) if name in tensors else None

    return constant


def reached(
    nodes: "Iterable[NodeProto]",
    inputs: Mapping[str, tuple[str, int | None]],
    constant: Constants,
    widths: Mapping[str, int | None],
    picked: "Callable[[NodeProto], Sequence[int] | None]",
    keeps: "Callable[[NodeProto], bool]",
) -> dict[str, Reaches]:
    """By tensor `[N, F]`, as far as these operators tell. `widths` are the columns of tensors.

    `picked` gives the columns that a selection takes, `keeps` says whether a reshape leaves columns as they are.
    """
    known: dict[str, Reaches] = {
        name: (Reach(BOUND, may_be_missing=dtype in ("float", "double")),) * width
        for name, (dtype, width) in inputs.items()
        if width is not None and dtype not in ("string", "float16")
    }
    for node in nodes:
        made = _through(node, known, constant, widths, picked, keeps)
        if made is not None and len(made) == widths.get(node.output[0]):
            known[node.output[0]] = made
    return known


def _through(
    node: "NodeProto",
    known: Mapping[str, Reaches],
    constant: Constants,
    widths: Mapping[str, int | None],
    picked: "Callable[[NodeProto], Sequence[int] | None]",
    keeps: "Callable[[NodeProto], bool]",
) -> Reaches | None:
    if node.op_type == "Concat":
        parts = [known.get(name, (None,) * (widths.get(name) or 0)) for name in node.input]
        return tuple(reach for part in parts for reach in part)
    if node.op_type in ("Add", "Div", "Mul", "Sub"):
        return _with_constant(node, known, constant)
    first = known.get(node.input[0]) if node.input else None
    if first is None:
        return None
    if node.op_type in ("ArrayFeatureExtractor", "Gather"):
        places = picked(node)
        return None if places is None else tuple(first[place] for place in places)
    if node.op_type in ("Flatten", "Reshape"):
        return first if keeps(node) else None
    return _column_by_column(node, first)


def _column_by_column(node: "NodeProto", first: Reaches) -> Reaches | None:
    if node.op_type in _LESSENING:
        return first
    if node.op_type in _UP_TO_ONE:
        return _each(first, lambda _: 1.0)
    if node.op_type == "LeakyRelu":
        slope = abs(attribute(node, "alpha", 0.01))
        return _each(first, lambda bound: bound * max(1.0, slope))
    if node.op_type == "Cast":
        from onnx import TensorProto

        wanted = TensorProto.DataType.Name(attribute(node, "to"))
        return None if wanted in _NARROW or wanted == "STRING" else first
    if node.op_type == "Imputer":
        return _imputed(node, first)
    if node.op_type == "Scaler":
        offsets, scales = (_spread(attribute(node, name, ()), len(first)) for name in ("offset", "scale"))
        if offsets is None or scales is None:
            return None
        return _each(first, lambda bound, offset, scale: (bound + abs(offset)) * abs(scale), offsets, scales)
    return None


def _imputed(node: "NodeProto", first: Reaches) -> Reaches:
    floats = attribute(node, "imputed_value_floats", ())
    values = floats or attribute(node, "imputed_value_int64s", ())
    largest = max((abs(float(value)) for value in values), default=0.0)
    fills = bool(floats) and math.isnan(attribute(node, "replaced_value_float", 0.0))
    made = _each(first, lambda bound: max(bound, largest))
    return tuple(Reach(each.bound, each.may_be_missing and not fills) if each else None for each in made)


def _with_constant(node: "NodeProto", known: Mapping[str, Reaches], constant: Constants) -> Reaches | None:
    """Of `column op constant`; a constant over a column, and two columns, may become anything."""
    left, right = (known.get(name) for name in node.input)
    moving, name = (left, node.input[1]) if left is not None else (right, node.input[0])
    held = constant(name)
    if moving is None or held is None or held.size not in (1, len(moving)) or held.dtype.kind not in "fiu":
        return None
    if node.op_type == "Div" and (left is None or not held.all()):
        return None
    sizes = np.broadcast_to(np.abs(held.astype(np.float64)).reshape(-1), (len(moving),))
    step: dict[str, Callable[[float, float], float]] = {"Mul": lambda a, b: a * b, "Div": lambda a, b: a / b}
    return _each(moving, step.get(node.op_type, lambda a, b: a + b), sizes)


def _spread(values: Sequence[float], width: int) -> Sequence[float] | None:
    """A Scaler's numbers, one for each column or one for all."""
    return list(values) * width if len(values) == 1 else values if len(values) == width else None


def _each(first: Reaches, bound_of: Callable[..., float], *beside: Iterable[float]) -> Reaches:
    made: list[Reach | None] = []
    for reach, *values in zip(first, *beside, strict=True):
        bound = math.inf if reach is None else float(bound_of(reach.bound, *values))
        # Not below 1, so that a small step makes nothing of what is added behind it.
        made.append(replace(reach, bound=max(bound, _LEAST)) if reach is not None and bound < _LARGEST else None)
    return tuple(made)
