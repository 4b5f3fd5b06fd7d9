"""The labels of a classifier, whole numbers or texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["Labels", "labels_of"]


@dataclass(frozen=True)
class Labels:
    """In the order of the classes."""

    values: Sequence[Expression]
    dtype: "np.dtype[Any]"

    def tensor(self, chosen: Expression) -> Tensor:
        """The label of each row: `[N]`."""
        return Tensor.of_cells([chosen], self.dtype)


def labels_of(node: Node) -> Labels:
    """From `classlabels_strings` or `classlabels_ints`, by whatever name the operator has for the latter."""
    texts = node.attribute("classlabels_strings")
    if texts:
        return Labels([algebra.text(each) for each in texts], np.dtype(object))
    numbers = node.attribute("classlabels_ints") or node.attribute("classlabels_int64s") or []
    return Labels([algebra.integer(each) for each in numbers], np.dtype(np.int64))
