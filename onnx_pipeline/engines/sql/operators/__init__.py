"""Which operators have a form in SQL, and where it is written: one module per operator or family of one formula.

A compiled operator is a function from a `Node` to the tensor, or the tensors, that it gives. For what it cannot say in
SQL it raises `node.refused(...)`; ValueError is told in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from onnx_pipeline.base.imports import imported

if TYPE_CHECKING:  # the table is read also where no graph is, without importing ONNX
    from onnx_pipeline.engines.sql.nodes import Node
    from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["OPERATORS", "operator"]

Compiled: TypeAlias = "Tensor | Sequence[Tensor | None]"

_HERE = "onnx_pipeline.engines.sql.operators"
_ML = "ai.onnx.ml"

OPERATORS: Mapping[tuple[str, str], str] = MappingProxyType({
    ("", "Add"): "arithmetic:add",
    ("", "Div"): "arithmetic:divide",
    ("", "Identity"): "identity:identity",
    ("", "Mul"): "arithmetic:multiply",
    ("", "Neg"): "arithmetic:negate",
    ("", "Sub"): "arithmetic:subtract",
    (_ML, "Scaler"): "scaler:scaler",
    (_ML, "TreeEnsembleRegressor"): "tree_ensemble_regressor:tree_ensemble_regressor",
})  # fmt: skip
"""(domain, operator) → module and function that compile it."""


def operator(node: "Node") -> "Callable[[Node], Compiled]":
    """What compiles such a node."""
    found: Callable[[Node], Compiled] = imported(f"{_HERE}.{OPERATORS[node.domain, node.op_type]}")
    return found
