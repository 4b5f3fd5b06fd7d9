"""What the trees of an ensemble give each target or class, as ONNX Runtime adds it up.

Of float32 inputs in float32, tree by tree in their order, as ONNX Runtime does on one thread: on a tie of votes another
order, or a wider sum, would give another label. (On several threads it adds up parts of the trees by thread.)
https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/cpu/ml/tree_ensemble_aggregator.h
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind
from onnx_pipeline.engines.sql.nodes import Node
from onnx_pipeline.engines.sql.operators.tree_cases import Tests, case_of
from onnx_pipeline.engines.sql.operators.trees import Leaf, Tree, every_node

__all__ = ["Score", "Scored", "features_of"]

_AGGREGATES = ("SUM", "AVERAGE", "MIN", "MAX")


def features_of(node: Node) -> list[Expression]:
    """What the trees compare: doubles as they are, everything else as float32."""
    return [cell if cell.kind is Kind.DOUBLE else algebra.narrow(cell) for cell in node[0].matrix()]


@dataclass(frozen=True)
class Score:
    """Of one target or class."""

    value: Expression
    """0 where no tree gave one."""
    given: Expression
    """Whether a leaf said something about it."""


class Scored:
    """An ensemble over the features of a row."""

    def __init__(self, node: Node, trees: Sequence[Tree], targets: int, aggregate: str = "SUM") -> None:
        features = features_of(node)
        if aggregate not in _AGGREGATES:
            raise node.refused(f"the aggregate {aggregate!r} is none of {', '.join(_AGGREGATES)}")
        self.kind = Kind.DOUBLE if features and features[0].kind is Kind.DOUBLE else Kind.FLOAT
        """Of thresholds, weights and sums."""
        tests = Tests(node, features, trees)
        self._trees = [_Scored(tree, tests, self.kind) for tree in trees]
        self._targets = targets
        self._aggregate = aggregate

    @property
    def only(self) -> "_Scored | None":
        """The tree, where there is one alone."""
        return self._trees[0] if len(self._trees) == 1 else None

    def alone(self) -> Expression:
        """The score of an only target."""
        return self._aggregated([tree.value(lambda leaf: leaf.alone) for tree in self._trees])

    def scores(self) -> list[Score]:
        """Of each target, by the weights that leaves have for it."""
        return [self._score(target) for target in range(self._targets)]

    def _score(self, target: int) -> Score:
        concerned = [tree for tree in self._trees if target in tree.targets]
        if not concerned:
            return Score(algebra.constant(0, self.kind), conditions.FALSE)
        # In a minimum a leaf without a weight does not count; in a sum it is nothing.
        silent = algebra.absent(self.kind) if self._aggregate in ("MIN", "MAX") else algebra.constant(0, self.kind)
        value = self._aggregated([tree.weight(target, silent) for tree in concerned])
        given = conditions.any_of(*(tree.has(target) for tree in concerned))
        return Score(conditions.filled(value, algebra.constant(0, self.kind)), given)

    def _aggregated(self, values: Sequence[Expression]) -> Expression:
        if self._aggregate in ("MIN", "MAX"):
            return _extreme(values, conditions.below if self._aggregate == "MIN" else conditions.beyond)
        whole = reduce(algebra.add, values)
        if self._aggregate == "AVERAGE":
            return algebra.divide(whole, algebra.constant(len(self._trees), self.kind))
        return whole


class _Scored:
    """One tree. Where leaves differ in several numbers, which leaf it is is found once, and the rest is looked up."""

    def __init__(self, tree: Tree, tests: Tests, kind: Kind) -> None:
        self.leaves = [each for each in every_node([tree]) if isinstance(each, Leaf)]
        self.targets = frozenset(target for leaf in self.leaves for target in leaf.weights)
        self._tree, self._tests, self._kind = tree, tests, kind
        distinct = {_contents(leaf): None for leaf in self.leaves}
        self.contents: list[Mapping[int, float]] = [dict(each) for each in distinct]
        """What leaves hold, each once."""
        self._places = {each: algebra.integer(place) for place, each in enumerate(distinct)}

    def value(self, of: Callable[[Leaf], float]) -> Expression:
        """A number of the leaf."""
        return case_of(self._tree, self._tests, lambda leaf: algebra.constant(of(leaf), self._kind))

    def chosen(self, values: Sequence[Expression]) -> Expression:
        """Of values for each of the `contents`, that of the leaf."""
        return conditions.element(case_of(self._tree, self._tests, lambda leaf: self._places[_contents(leaf)]), values)

    def weight(self, target: int, silent: Expression) -> Expression:
        """What the tree gives a target; `silent` where its leaf says nothing about it."""

        def held(weights: Mapping[int, float]) -> Expression:
            return algebra.constant(weights[target], self._kind) if target in weights else silent

        if len(self.targets) > 1:
            return self.chosen([held(weights) for weights in self.contents])
        return case_of(self._tree, self._tests, lambda leaf: held(leaf.weights))

    def has(self, target: int) -> Expression:
        """Whether the leaf says something about a target."""
        if all(target in weights for weights in self.contents):
            return conditions.TRUE
        one, zero = algebra.integer(1), algebra.integer(0)
        return conditions.equals(
            case_of(self._tree, self._tests, lambda leaf: one if target in leaf.weights else zero), one
        )


def _contents(leaf: Leaf) -> tuple[tuple[int, float], ...]:
    return tuple(sorted(leaf.weights.items()))


def _extreme(values: Sequence[Expression], better: Callable[[Expression, Expression], Expression]) -> Expression:
    """Of pairs, of pairs of those, and so on: one after the other would nest as deep as there are trees."""
    if len(values) == 1:
        return values[0]
    middle = len(values) // 2
    one, other = _extreme(values[:middle], better), _extreme(values[middle:], better)
    return conditions.case([(conditions.is_missing(one), other), (better(other, one), other)], one)
