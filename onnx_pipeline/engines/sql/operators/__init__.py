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
    ("", "Abs"): "functions:absolute",
    ("", "Add"): "arithmetic:add",
    ("", "And"): "logic:both",
    ("", "ArgMax"): "arg_extremes:arg_max",
    ("", "ArgMin"): "arg_extremes:arg_min",
    ("", "BatchNormalization"): "normalization:batch_normalization",
    ("", "Cast"): "cast:cast",
    ("", "CastLike"): "cast:cast_like",
    ("", "Ceil"): "functions:ceiling",
    ("", "Celu"): "activations:celu",
    ("", "Clip"): "bounds:clip",
    ("", "Concat"): "concat:concat",
    ("", "ConstantOfShape"): "reshape:constant_of_shape",
    ("", "CumSum"): "cum_sum:cumulative_sum",
    ("", "Div"): "arithmetic:divide",
    ("", "Dropout"): "normalization:dropout",
    ("", "Einsum"): "einsum:einsum",
    ("", "Elu"): "activations:elu",
    ("", "Equal"): "comparisons:equal",
    ("", "Erf"): "erf:erf",
    ("", "Exp"): "functions:exponential",
    ("", "Expand"): "reshape:expand",
    ("", "Flatten"): "reshape:flatten",
    ("", "Floor"): "functions:floor",
    ("", "Gather"): "gather:gather",
    ("", "GatherElements"): "gather:gather_elements",
    ("", "Gelu"): "activations:gelu",
    ("", "Gemm"): "matmul:gemm",
    ("", "Greater"): "comparisons:greater",
    ("", "GreaterOrEqual"): "comparisons:greater_or_equal",
    ("", "HardSigmoid"): "activations:hard_sigmoid",
    ("", "HardSwish"): "activations:hard_swish",
    ("", "Hardmax"): "softmax:hardmax",
    ("", "Identity"): "identity:identity",
    ("", "IsInf"): "is_nan:is_inf",
    ("", "IsNaN"): "is_nan:is_nan",
    ("", "LayerNormalization"): "normalization:layer_normalization",
    ("", "LeakyRelu"): "activations:leaky_relu",
    ("", "Less"): "comparisons:less",
    ("", "LessOrEqual"): "comparisons:less_or_equal",
    ("", "Log"): "functions:logarithm",
    ("", "LogSoftmax"): "softmax:log_softmax",
    ("", "MatMul"): "matmul:matmul",
    ("", "Max"): "bounds:maximum",
    ("", "Mean"): "arithmetic:mean",
    ("", "Min"): "bounds:minimum",
    ("", "Mish"): "activations:mish",
    ("", "Mod"): "modulo:modulo",
    ("", "Mul"): "arithmetic:multiply",
    ("", "Neg"): "arithmetic:negate",
    ("", "Not"): "logic:inverted",
    ("", "Or"): "logic:either",
    ("", "PRelu"): "activations:p_relu",
    ("", "Pow"): "arithmetic:power",
    ("", "Reciprocal"): "arithmetic:reciprocal",
    ("", "ReduceL1"): "reductions:l1",
    ("", "ReduceL2"): "reductions:l2",
    ("", "ReduceLogSum"): "reductions:log_sum",
    ("", "ReduceLogSumExp"): "reductions:log_sum_exp",
    ("", "ReduceMax"): "reductions:maximum",
    ("", "ReduceMean"): "reductions:mean",
    ("", "ReduceMin"): "reductions:minimum",
    ("", "ReduceProd"): "reductions:product",
    ("", "ReduceSum"): "reductions:sum_of",
    ("", "ReduceSumSquare"): "reductions:sum_of_squares",
    ("", "Relu"): "functions:relu",
    ("", "Reshape"): "reshape:reshape",
    ("", "Round"): "functions:rounded",
    ("", "Selu"): "activations:selu",
    ("", "Shape"): "reshape:shape",
    ("", "Sigmoid"): "functions:sigmoid",
    ("", "Sign"): "functions:sign",
    ("", "Size"): "reshape:size",
    ("", "Slice"): "slices:slices",
    ("", "Softmax"): "softmax:softmax",
    ("", "Softplus"): "activations:softplus",
    ("", "Softsign"): "activations:softsign",
    ("", "Split"): "slices:split",
    ("", "Sqrt"): "functions:sqrt",
    ("", "Squeeze"): "reshape:squeeze",
    ("", "Sub"): "arithmetic:subtract",
    ("", "Sum"): "arithmetic:summed",
    ("", "Swish"): "activations:swish",
    ("", "Tanh"): "functions:tanh",
    ("", "ThresholdedRelu"): "activations:thresholded_relu",
    ("", "TopK"): "arg_extremes:top_k",
    ("", "Transpose"): "reshape:transpose",
    ("", "Unsqueeze"): "reshape:unsqueeze",
    ("", "Where"): "where:where",
    ("", "Xor"): "logic:exclusive",
    (_ML, "Scaler"): "scaler:scaler",
    (_ML, "TreeEnsembleRegressor"): "tree_ensemble_regressor:tree_ensemble_regressor",
})  # fmt: skip
"""(domain, operator) → module and function that compile it."""


def operator(node: "Node") -> "Callable[[Node], Compiled]":
    """What compiles such a node."""
    found: Callable[[Node], Compiled] = imported(f"{_HERE}.{OPERATORS[node.domain, node.op_type]}")
    return found
