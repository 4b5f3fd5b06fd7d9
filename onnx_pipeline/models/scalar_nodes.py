"""The nodes that put scalars together and take them apart, in the operator set that a model has."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.base.types import column_type_of_onnx

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["Nodes"]

_ML = "ai.onnx.ml"
_CURRENT = 13
"""The operator set of a model that has none of ONNX's own operators."""
_MADE = re.compile(r"(f|there|p|number|made)\d+", re.IGNORECASE)


class Nodes:
    """Makes nodes, before a model's own and behind them. Each value `[1, 1]` is one scalar."""

    def __init__(self, opset: int, taken: Collection[str]) -> None:
        self._opset = opset or _CURRENT
        self._had_opset = bool(opset)
        self._needs_ml = False
        self._made = 0
        self._prefix = _prefix(taken)
        self.before: list[NodeProto] = []
        self.behind: list[NodeProto] = []
        self._current = self.before

    def after(self) -> "Nodes":
        """From now on, nodes stand behind the model's own."""
        self._current = self.behind
        return self

    def stem(self, name: str) -> str:
        """A name that the model does not have."""
        return f"{self._prefix}{name}"

    def nan_where_missing(self, value: str, there: str | None, dtype: str) -> str:
        """A float that is NaN where `there` is 0: 0 / 0, where any other value is divided by 1 and stays what it is."""
        if there is None:
            return value
        if self._opset >= 7:
            return self._node("Div", [value, there])
        # Div came with operator set 7 to ONNX Runtime. Before, 0 becomes NaN in an Imputer: value · 1, or value · NaN.
        self._needs_ml = True
        flag = self.cast(there, dtype, "float")
        flag = self._node("Imputer", [flag], domain=_ML, imputed_value_floats=[np.nan], replaced_value_float=0.0)
        return self._node("MatMul", [value, self.cast(flag, "float", dtype)])

    def cast(self, value: str, dtype: str, to: str) -> str:
        """In another dtype; nothing where it is that one."""
        if dtype == to:
            return value
        kind = _element(to)
        return self._node("Cast", [value], to=kind if self._opset >= 6 else _name(kind))

    def nothing(self, dtype: str) -> str:
        """What fills the place of a column that moves nothing."""
        return self._constant(_array([[""]] if dtype == "string" else [[0]], dtype), dtype)

    def row(self, values: Sequence[str], name: str, *, flat: bool) -> None:
        """`[1, F]` of F scalars, or `[1]` of one, under a name."""
        if flat:
            self._reshape(values[0], [1], name)
        elif len(values) == 1:
            self._node("Identity", values, output=name)
        else:
            self._node("Concat", values, output=name, axis=1)

    def element(self, tensor: str, dtype: str, to: str, *, width: int, index: int) -> str:
        """One of a tensor's `width` values for the row, as a scalar."""
        if width == 1:
            value = tensor
        else:
            row = self._reshape(tensor, [1, width])
            value = self._node("Gather", [row, self._constant(np.array([index], np.int64), "int64")], axis=1)
        return self._reshape(self.cast(value, dtype, to), [1, 1])

    @property
    def tells_numbers(self) -> bool:
        """Whether `number` has its operators."""
        return self._opset >= 9

    def number(self, value: str, dtype: str, flag: str) -> str:
        """A float, or 0 where it is NaN or infinite; `flag` says which, as 1 or 0."""
        # x - x is 0, and NaN where x is not finite, which is less than nothing.
        apart = self._node("Sub", [value, value])
        finite = self._node("Less", [apart, self._constant(_array([[1]], dtype), dtype)])
        self._node("Cast", [finite], output=flag, to=_element("int32"))
        return self._node("Where", [finite, value, self._constant(_array([[0]], dtype), dtype)])

    def put(self, value: str, name: str) -> None:
        """A value under a name."""
        self._node("Identity", [value], output=name)

    def add_opsets(self, model: "ModelProto") -> None:
        """Name the operator sets that the new nodes are of, where the model does not."""
        if not self._had_opset:
            model.opset_import.add(domain="", version=self._opset)
        if self._needs_ml and all(entry.domain != _ML for entry in model.opset_import):
            model.opset_import.add(domain=_ML, version=1)

    def _reshape(self, value: str, shape: Sequence[int], output: str | None = None) -> str:
        if self._opset < 5:
            return self._node("Reshape", [value], output=output, shape=list(shape))
        return self._node("Reshape", [value, self._constant(np.array(shape, np.int64), "int64")], output=output)

    def _constant(self, values: "np.ndarray[Any, Any]", dtype: str) -> str:
        return self._node("Constant", [], value=_tensor(values, dtype))

    def _node(
        self, operator: str, inputs: Sequence[str], *, output: str | None = None, domain: str = "", **attributes: Any
    ) -> str:
        from onnx import helper

        if output is None:
            output = self.stem(f"made{self._made}")
            self._made += 1
        self._current.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output


def _prefix(taken: Collection[str]) -> str:
    """What names that are made here begin with, so that they meet none of the model's."""
    if not any(_MADE.fullmatch(name) for name in taken):
        return ""
    prefix = "scalar_"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return prefix


def _array(values: Sequence[Sequence[Any]], dtype: str) -> "np.ndarray[Any, Any]":
    return np.array(values, column_type_of_onnx(dtype, tensor="a constant").numpy)


def _tensor(values: "np.ndarray[Any, Any]", dtype: str) -> "TensorProto":
    from onnx import helper, numpy_helper

    if dtype == "string":
        texts: Any = [str(value).encode() for value in values.ravel()]  # declared as numbers
        return helper.make_tensor("", _element(dtype), values.shape, texts)
    return numpy_helper.from_array(values)


def _element(dtype: str) -> int:
    from onnx import TensorProto

    return int(getattr(TensorProto, dtype.upper()))


def _name(kind: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(kind))
