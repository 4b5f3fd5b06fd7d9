"""Expressions beyond what a server takes in one are cut: what is stored between two statements counts as one.

A derived table is no cut. SQL Server may put what it computes into the expression that reads it, and counts it there.
"""

from collections.abc import Container, Sequence

from onnx_pipeline.engines.sql.algebra import total
from onnx_pipeline.engines.sql.expressions import Expression, in_order, with_args

__all__ = ["operands_of", "within"]


def operands_of(root: Expression, named: Container[Expression] = ()) -> int:
    """The identifiers and constants of an expression, where what is `named` below it counts as one."""
    size: dict[Expression, int] = {}
    for each in in_order([root], ends_at=lambda each: each is not root and each in named):
        is_leaf = each is not root and each in named
        size[each] = 1 if is_leaf else sum(size[arg] for arg in each.args) or 1
    return size[root]


def within(outputs: Sequence[Expression], most: int) -> tuple[list[Expression], frozenset[Expression]]:
    """The same values with at most so many operands in each expression, and the expressions that have to be stored.

    A sum is cut into sums; of everything else the largest parts are stored. An expression of more parts than `most`
    stays too large.
    """
    made: dict[Expression, Expression] = {}
    size: dict[Expression, int] = {}
    stored: set[Expression] = set()
    for each in in_order(outputs):
        args = [made[arg] for arg in each.args]
        while sum(size[arg] for arg in args) > most:
            fewer = _in_sums(each, args, size, most) if each.op == "total" else args
            for arg in sorted(dict.fromkeys(fewer), key=lambda arg: -size[arg]):
                if sum(size[other] for other in fewer) <= most:
                    break
                stored.add(arg)
                size[arg] = 1
            if fewer == args:
                break
            args = fewer
        made[each] = each if args == list(each.args) else with_args(each, args)
        size.setdefault(made[each], sum(size[arg] for arg in args) or 1)
    return [made[each] for each in outputs], frozenset(stored)


def _in_sums(each: Expression, terms: Sequence[Expression], size: dict[Expression, int], most: int) -> list[Expression]:
    """Fewer terms: sums of as many as go into one."""
    groups: list[list[Expression]] = [[]]
    taken = 0
    for term in terms:
        if groups[-1] and taken + size[term] > most:
            groups.append([])
            taken = 0
        groups[-1].append(term)
        taken += size[term]
    sums = [group[0] if len(group) == 1 else total(group, each.kind) for group in groups]
    for group, made in zip(groups, sums, strict=True):
        size.setdefault(made, sum(size[term] for term in group))
    return sums
