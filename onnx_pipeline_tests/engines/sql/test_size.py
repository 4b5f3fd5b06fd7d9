"""Expressions that a server would refuse for their size are cut into what it takes."""

import pytest

from onnx_pipeline.engines.sql import algebra, conditions
from onnx_pipeline.engines.sql.expressions import Expression, Kind, in_order
from onnx_pipeline.engines.sql.passes.size import operands_of, within

COLUMNS = [algebra.column(f"c{place}", Kind.DOUBLE) for place in range(40)]


def product(place: int) -> Expression:
    return algebra.multiply(COLUMNS[place], algebra.double(place + 0.5))


def sizes(outputs: list[Expression], stored: frozenset[Expression]) -> list[int]:
    """Operands of each output and each stored expression, where what is stored counts as one."""

    def count(each: Expression, *, root: bool) -> int:
        if not each.args or (each in stored and not root):
            return 1
        return sum(count(arg, root=False) for arg in each.args)

    return [count(each, root=True) for each in {*outputs, *stored}]


def test_what_is_small_enough_stays_as_it_is():
    sum_ = algebra.total([product(place) for place in range(40)])
    assert operands_of([sum_]) == 80
    assert within([sum_], 80) == ([sum_], frozenset())


@pytest.mark.parametrize("most", [7, 16, 79])
def test_a_sum_is_cut_into_sums(most):
    terms = [product(place) for place in range(40)]
    (cut,), stored = within([algebra.total(terms)], most)
    assert stored
    assert max(sizes([cut], stored)) <= most
    assert {each for each in in_order([cut]) if each.op == "multiply"} == set(terms)


def test_a_tree_is_cut_at_its_largest_branches():
    def tree(depth: int, place: int = 0) -> Expression:
        if depth == 0:
            return algebra.double(place)
        test = conditions.at_most(COLUMNS[place % 40], algebra.double(place))
        return conditions.case([(test, tree(depth - 1, 2 * place + 1))], tree(depth - 1, 2 * place + 2))

    (cut,), stored = within([tree(8)], 100)
    assert stored
    assert max(sizes([cut], stored)) <= 100


def test_what_several_outputs_share_is_stored_once():
    shared = algebra.function("exp", algebra.total([product(place) for place in range(40)]))
    outputs, stored = within([algebra.add(shared, shared), algebra.multiply(shared, shared)], 100)
    assert stored == {shared}
    assert max(sizes(outputs, stored)) <= 100
