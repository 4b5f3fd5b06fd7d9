"""LinearClassifier: https://onnx.ai/onnx/operators/onnx_aionnxml_LinearClassifier.html

https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/linearclassifier.cc
"""

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.choices import of_the_largest
from onnx_pipeline.engines.sql.operators.features import features_of
from onnx_pipeline.engines.sql.operators.labels import Labels, labels_of
from onnx_pipeline.engines.sql.operators.linear import scores_of
from onnx_pipeline.engines.sql.operators.post_transforms import of_one_score, post_transformed
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["linear_classifier"]


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
    """One column: two classes get `1 - score` beside it, whatever the transform."""
    negative, positive = labels.or_numbers()
    label = conditions.case([(conditions.beyond(score, algebra.constant(0, Kind.FLOAT)), positive)], negative)
    if len(labels.values) != 2:
        return [labels.tensor(label), Tensor.of_cells([[of_one_score(transform, score)]], np.float32)]
    if transform == "PROBIT":
        raise node.refused("ONNX Runtime leaves one of two scores undefined under PROBIT with one row of coefficients")
    scores = [algebra.subtract(algebra.constant(1, Kind.FLOAT), score), score]
    return [labels.tensor(label), Tensor.of_cells([scores], np.float32)]
