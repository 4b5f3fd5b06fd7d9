"""SVMRegressor: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMRegressor.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/svmregressor.cc
"""

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.choices import is_positive
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.operators.linear import scores_of
from onnx_pipeline.engines.sql.operators.svm import kernels, sum_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["svm_regressor"]


def svm_regressor(node: Node) -> Tensor:
    """`[N, 1]` of float32; of one class 1 inside and -1 outside. ONNX Runtime heeds no `post_transform` here."""
    cells = features_of(node)
    score = _score(node, cells)
    if node.attribute("one_class", 0):
        inside, outside = (algebra.constant(value, Kind.FLOAT) for value in (1.0, -1.0))
        score = conditions.case([(is_positive(score), inside)], outside)
    return Tensor.of_cells([[score]], np.float32)


def _score(node: Node, cells: list[Expression]) -> Expression:
    coefficients = node.attribute("coefficients", [])
    count = node.attribute("n_supports", 0)
    rho = (node.attribute("rho") or [0.0])[:1]
    if count == 0:
        return scores_of(node, cells, coefficients, rho)[0]
    if len(coefficients) != count:
        raise node.refused(f"it has {len(coefficients)} coefficients for {count} support vectors")
    return algebra.narrow(sum_of(kernels(node, cells, count), coefficients, rho[0]))
