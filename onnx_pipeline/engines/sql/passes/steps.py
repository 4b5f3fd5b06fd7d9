"""Shared values get a name in a step of their own, below the one that uses them, so that each is computed once.

A step is a derived table. A value also gets one where it nests deeper than the database's parser, its CASE or this
process's stack allows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.passes.size import within

__all__ = ["ELEMENT_NESTS", "Limits", "Program", "in_steps"]


@dataclass(frozen=True)
class Limits:
    """What an expression may be in a database."""

    depth: int
    """Operations within each other."""
    cases: int
    """CASE within CASE."""
    additions: int | None = None
    """Additions one after the other, each of what the ones before gave; None: as many as there are."""
    operands: int | None = None
    """Identifiers and constants, derived tables written out; None: as many as there are."""
    columns: int | None = None
    """Columns of one SELECT; None: as many as there are."""
    stored_columns: int | None = None
    """Columns of a table between two statements; None: as many as there are."""


@dataclass(frozen=True)
class Program:
    """What is computed, step by step, each over what the steps below it gave."""

    steps: Sequence[Mapping[str, Expression]]
    """From the lowest: name to expression. Expressions name what came before as `column`s do, by `names`."""
    outputs: Sequence[Expression]
    """In the order of those that were asked for; what was too large is put together otherwise."""
    names: Mapping[Expression, str] = field(default_factory=dict)
    """The name that a step gave an expression."""
    stored: Sequence[int] = ()
    """Steps whose results have to lie in a table before the next one reads them, in order."""


ELEMENT_NESTS = 6
"""CASE within CASE where a look-up is written so: halves of at most 32 values, one after the other."""

_CHEAP = frozenset({"column", "constant", "negate", "cast"})
"""A second time costs less than a column of a derived table."""


def in_steps(outputs: Sequence[Expression], limits: Limits, *, prefix: str = "v") -> Program:
    """The same outputs with what they share, and what is too deep, in steps."""
    apart: frozenset[Expression] = frozenset()
    if limits.operands is not None:
        outputs, apart = within(outputs, limits.operands)
    order = list(in_order(outputs))
    uses = _uses(order, outputs)
    names: dict[Expression, str] = {}
    step: dict[Expression, int] = {}
    """The step in which an expression can be written."""
    depth: dict[Expression, int] = {}
    cases: dict[Expression, int] = {}
    additions: dict[Expression, int] = {}
    for each in order:
        step[each] = max((step[arg] + (arg in names) for arg in each.args), default=0)
        for arg in sorted(each.args, key=lambda arg: -depth[arg]):
            if arg in names or arg.op in ("column", "constant"):
                continue
            too_deep = depth[arg] + 1 > limits.depth or cases[arg] + _nests(each) > limits.cases
            if each.op == arg.op == "add" and limits.additions is not None:
                too_deep = too_deep or additions[arg] + 1 > limits.additions
            # A place that is looked up is written for each comparison with it, where a database has no arrays.
            if too_deep or (each.op == "element" and arg is each.args[0]):
                names[arg] = f"{prefix}{len(names)}"
                step[each] = max(step[each], step[arg] + 1)
        if each.op == "add":
            additions[each] = 1 + max(
                (additions[arg] for arg in each.args if arg.op == "add" and arg not in names), default=0
            )
        depth[each] = 1 + max((0 if arg in names else depth[arg] for arg in each.args), default=0)
        cases[each] = _nests(each) + max((0 if arg in names else cases[arg] for arg in each.args), default=0)
        if each in apart or (uses[each] > 1 and each.op not in _CHEAP and _is_worth_a_name(each)):
            names[each] = f"{prefix}{len(names)}"
    steps: list[dict[str, Expression]] = []
    for each in order:
        if each in names:
            while len(steps) <= step[each]:
                steps.append({})
            steps[step[each]][names[each]] = each
    return Program(steps, list(outputs), names, sorted({step[each] for each in apart}))


def _nests(each: Expression) -> int:
    """CASE within CASE that an operation becomes by itself."""
    if each.op == "element":
        return ELEMENT_NESTS
    return int(each.op == "case")


def _uses(order: Sequence[Expression], outputs: Sequence[Expression]) -> Counter[Expression]:
    """How many times each would be written: as often as what it is written in, where that gets no name itself."""
    uses = Counter(dict.fromkeys(outputs, 1))
    for each in reversed(order):
        for arg in each.args:
            uses[arg] += uses[each] if each.op in _CHEAP else 1
    return uses


def _is_worth_a_name(each: Expression) -> bool:
    """Tests of a column repeat in every tree of a forest, and cost less than what a step does."""
    if each.kind is Kind.BOOLEAN:
        return each.depth > _TESTS_OF_A_COLUMN
    return each.op == "case" or not all(arg.op in ("column", "constant") for arg in each.args)


_TESTS_OF_A_COLUMN = 3
