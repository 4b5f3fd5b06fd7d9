"""TreeEnsembleRegressor: sums of leaves. https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html"""

import numpy as np

from onnx_pipeline.engines.sql import algebra
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.trees import Leaf, case_of, trees_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["tree_ensemble_regressor"]


def tree_ensemble_regressor(node: Node) -> Tensor:
    """`[N, T]` of float32."""
    features = [cell if cell.kind is Kind.DOUBLE else algebra.narrow(cell) for cell in node[0].matrix()]
    trees = trees_of(node, "target")
    targets = node.attribute("n_targets", 1)
    base = node.attribute("base_values") or [0.0] * targets
    aggregate = node.attribute("aggregate_function", "SUM")
    if aggregate != "SUM":
        raise node.refused(f"aggregate_function {aggregate} has no form in SQL yet")

    def value(target: int) -> Expression:
        def leaf(each: Leaf) -> Expression:
            return algebra.constant(each.weights.get(target, 0.0), Kind.FLOAT)

        cases = [case_of(tree, features, leaf) for tree in trees]
        return algebra.narrow(algebra.total([*cases, algebra.double(base[target])]))

    return Tensor.of_cells([[value(target) for target in range(targets)]], np.float32)
