"""CategoryMapper: https://onnx.ai/onnx/operators/onnx_aionnxml_CategoryMapper.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.lookup import looked_up
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["category_mapper"]


def category_mapper(node: Node) -> Tensor:
    """Texts to whole numbers, or the other way. Of what is given twice the last counts."""
    texts = [algebra.text(each) for each in node.attribute("cats_strings", [])]
    numbers = [algebra.integer(each) for each in node.attribute("cats_int64s", [])]
    if len(texts) != len(numbers):
        raise node.refused(f"it has {len(texts)} texts and {len(numbers)} numbers")
    if node[0].dtype == object:
        missing = algebra.integer(node.attribute("default_int64", -1))
        table = dict(zip(texts, numbers, strict=True))
        return node[0].map(lambda cell: looked_up(cell, table, missing), np.int64)
    unknown = algebra.text(node.attribute("default_string", "_Unused"))
    table = dict(zip(numbers, texts, strict=True))
    return node[0].map(lambda cell: looked_up(cell, table, unknown), object)
