"""FeatureVectorizer: https://onnx.ai/onnx/operators/onnx_aionnxml_FeatureVectorizer.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.features import rows_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["feature_vectorizer"]


def feature_vectorizer(node: Node) -> Tensor:
    """The inputs `[N, F]` beside each other in float32, each cut or filled with zeros to its declared width."""
    widths = node.attribute("inputdimensions") or []
    if len(widths) != len(node.inputs):
        raise node.refused(f"it has {len(node.inputs)} inputs, and inputdimensions names {len(widths)}")
    zero = algebra.constant(0, Kind.FLOAT)
    cells = []
    for place, width in enumerate(widths):
        found = [algebra.narrow(cell) for cell in rows_of(node, place)]
        cells += (found + [zero] * width)[:width]
    return Tensor.of_cells([cells], np.float32)
