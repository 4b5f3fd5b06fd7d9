"""CategoryMapper: https://onnx.ai/onnx/operators/onnx_aionnxml_CategoryMapper.html"""

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.lookup import mapped
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["category_mapper"]


def category_mapper(node: Node) -> Tensor:
    """Texts to whole numbers, or the other way. Of what is given twice the last counts."""
    texts = [algebra.text(each) for each in node.attribute("cats_strings", [])]
    numbers = [algebra.integer(each) for each in node.attribute("cats_int64s", [])]
    if len(texts) != len(numbers):
        raise node.refused(f"it has {len(texts)} texts and {len(numbers)} numbers")
    return mapped(node, texts, numbers)
