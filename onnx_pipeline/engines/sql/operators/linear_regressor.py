"""LinearRegressor: https://onnx.ai/onnx/operators/onnx_aionnxml_LinearRegressor.html"""

import numpy as np

from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.operators.linear import scores_of
from onnx_pipeline.engines.sql.operators.post_transforms import of_one_score, post_transformed
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["linear_regressor"]


def linear_regressor(node: Node) -> Tensor:
    """`[N, targets]` of float32. ONNX Runtime leaves out intercepts that are not as many as the targets."""
    targets = node.attribute("targets", 1)
    intercepts = node.attribute("intercepts") or []
    if len(intercepts) != targets:
        intercepts = [0.0] * targets
    scores = scores_of(node, features_of(node), node.attribute("coefficients", []), intercepts)
    transform = node.attribute("post_transform", "NONE")
    if targets == 1:
        return Tensor.of_cells([[of_one_score(transform, scores[0])]], np.float32)
    return Tensor.of_cells([post_transformed(transform, scores)], np.float32)
