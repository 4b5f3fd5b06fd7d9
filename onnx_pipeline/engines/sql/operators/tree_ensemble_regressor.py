"""TreeEnsembleRegressor: sums of leaves. https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html"""

from collections.abc import Sequence

import numpy as np

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.post_transforms import of_one_score, post_transformed
from onnx_pipeline.engines.sql.operators.tree_scores import Scored
from onnx_pipeline.engines.sql.operators.trees import Tree, numbers, trees_of
from onnx_pipeline.engines.sql.tensors import Tensor

__all__ = ["predicted", "tree_ensemble_regressor"]


def tree_ensemble_regressor(node: Node) -> Tensor:
    """`[N, T]` of float32."""
    cells = predicted(
        node,
        trees_of(node, "target"),
        node.attribute("n_targets", 1),
        node.attribute("aggregate_function", "SUM"),
        node.attribute("post_transform", "NONE"),
        numbers(node, "base_values"),
    )
    return Tensor.of_cells([[algebra.narrow(cell) for cell in cells]], np.float32)


def predicted(
    node: Node, trees: Sequence[Tree], targets: int, aggregate: str, post_transform: str, base: Sequence[float] = ()
) -> list[Expression]:
    """One number for each target."""
    scored = Scored(node, trees, targets, aggregate)
    if len(base) not in (0, targets):
        raise node.refused(f"there are {len(base)} base values for {targets} targets")
    starts = [algebra.constant(float(each), scored.kind) for each in base] or [
        algebra.constant(0, scored.kind)
    ] * targets
    if targets == 1:
        return [of_one_score(post_transform, algebra.add(scored.alone(), starts[0]))]
    zero = algebra.constant(0, scored.kind)
    # A target that no leaf speaks of is 0, whatever its base value.
    cells = [
        conditions.case([(score.given, algebra.add(score.value, start))], zero)
        for score, start in zip(scored.scores(), starts, strict=True)
    ]
    return cells if post_transform == "NONE" else post_transformed(post_transform, [algebra.narrow(c) for c in cells])
