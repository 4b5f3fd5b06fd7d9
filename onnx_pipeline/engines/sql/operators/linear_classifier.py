"""LinearClassifier: https://onnx.ai/onnx/operators/onnx_aionnxml_LinearClassifier.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/linearclassifier.cc
"""

import numpy as np

from onnx_pipeline.engines.sql import conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.choices import is_positive, of_the_largest
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.operators.labels import Labels, labels_of
from onnx_pipeline.engines.sql.operators.linear import scores_of
from onnx_pipeline.engines.sql.operators.post_transforms import of_both_classes, post_transformed
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["linear_classifier"]

_BINARY = 2


def linear_classifier(node: Node) -> list[Tensor]:
    """Labels `[N]` and scores `[N, K]`. `multi_class` changes nothing in ONNX Runtime."""
    intercepts = node.attribute("intercepts") or []
    if not intercepts:
        raise node.refused("it has no intercepts, by which ONNX Runtime counts its classes")
    labels = labels_of(node)
    transform = node.attribute("post_transform", "NONE")
    scores = scores_of(node, features_of(node), node.attribute("coefficients", []), intercepts)
    if len(scores) == 1:
        return _binary(node, labels, scores[0], transform)
    if len(labels.values) < len(scores):
        raise node.refused(f"it has {len(scores)} scores and {len(labels.values)} labels")
    label = of_the_largest(scores, labels.values[: len(scores)])
    return [labels.tensor(label), Tensor.of_cells([post_transformed(transform, scores)], np.float32)]


def _binary(node: Node, labels: Labels, score: Expression, transform: str) -> list[Tensor]:
    """One row of coefficients for two classes, of which the score is the second one's."""
    if len(labels.values) != _BINARY:
        raise node.refused(f"it has one score and {len(labels.values)} labels, and ONNX Runtime wants two")
    if transform == "PROBIT":
        raise node.refused("ONNX Runtime leaves one of two scores undefined under PROBIT with one row of coefficients")
    label = conditions.case([(is_positive(score), labels.values[1])], labels.values[0])
    return [labels.tensor(label), Tensor.of_cells([of_both_classes(transform, score)], np.float32)]
