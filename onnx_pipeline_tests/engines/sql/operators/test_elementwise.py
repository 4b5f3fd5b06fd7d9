"""Operators of single cells, on edges of what a float holds, as ONNX Runtime has them."""

import numpy as np
import onnx
import pytest

from onnx_pipeline_tests.engines.sql.graphs import CONDITIONS, FROM_INFINITY, OF_OVERFLOWS, OVERFLOWING, edges, graph
from onnx_pipeline_tests.engines.sql.oracle import check


@pytest.mark.parametrize(
    "operator",
    ["Abs", "Ceil", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sqrt", "Tanh"],
)
def test_functions_of_one_number(operator):
    check(graph(f"y = {operator} (x)"), edges())


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("operands", ["x, w", "w, x", "x, first", "first, x", "x, zero", "zero, x"])
def test_arithmetic(operator, operands):
    check(
        graph(
            f"first = Slice (x, starts, ends, axes) y = {operator} ({operands})",
            constants="float[3] w = {1.5, -0.3, 7}, float zero = {0}, int64[1] starts = {0}, int64[1] ends = {1}, "
            "int64[1] axes = {1}",
        ),
        edges(),
    )


@pytest.mark.parametrize("overflowing", OVERFLOWING)
def test_what_overflows_is_infinity_on_the_way(overflowing):
    for result in FROM_INFINITY:
        check(graph(f"{overflowing} y = {result}", constants=OF_OVERFLOWS, opset=20), edges())
    for result in CONDITIONS:
        body = f"{overflowing} t = Gather <axis = 1> (u, order) y = {result}"
        check(graph(body, outputs="bool[N,3] y", constants=OF_OVERFLOWS, opset=20), edges())


@pytest.mark.parametrize("exponent", ["0", "1", "2", "3", "0.5", "-1", "1.7", "-2.5"])
def test_powers(exponent):
    check(graph("y = Pow (x, e)", constants=f"float e = {{{exponent}}}"), edges())


@pytest.mark.parametrize("operator", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("operands", ["x, w", "w, x", "x, turned"])
def test_comparisons_with_a_missing_value_are_false(operator, operands):
    check(
        graph(
            f"turned = Gather <axis = 1> (x, order) y = {operator} ({operands})",
            outputs="bool[N,3] y",
            constants="float[3] w = {0, 2.5, -1}, int64[3] order = {2, 0, 1}",
        ),
        edges(),
    )


@pytest.mark.parametrize("operator", ["And", "Or", "Xor"])
def test_logic(operator):
    body = f"a = Less (x, w) b = Less (w, x) n = Not (b) both = {operator} (a, n) y = Identity (both)"
    check(graph(body, outputs="bool[N,3] y", constants="float[3] w = {0, 2.5, -1}"), edges())


def test_where_takes_one_of_two_values():
    body = "big = Less (w, x) s = Exp (x) y = Where (big, w, s)"
    check(graph(body, constants="float[3] w = {0, 2.5, -1}"), edges())


@pytest.mark.parametrize(("to", "name"), [(1, "float"), (7, "int64"), (9, "bool"), (11, "double")])
def test_casts_cut_towards_zero(to, name):
    rows = edges()
    rows = rows[(abs(rows) < 1e9).all(axis=1)]
    check(graph(f"y = Cast <to = {to}> (x)", outputs=f"{name}[N,3] y"), rows)


def test_whole_numbers_divide_towards_zero_and_become_texts():
    body = "i = Cast <to = 7> (x) q = Div (i, w) m = Mul (i, w) s = Sub (q, m) y = Cast <to = 8> (s)"
    rows = edges()
    rows = rows[(abs(rows) < 1e9).all(axis=1)]
    check(graph(body, outputs="string[N,3] y", constants="int64[3] w = {2, -2, 3}"), rows)


def test_sums_and_means_of_tensors():
    check(graph("s = Sum (x, w, x) y = Mean (s, x, w)", constants="float[3] w = {1, 2, 3}"), edges())


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32"])
def test_whole_numbers_beyond_a_narrower_type_count_on_from_its_other_end(name):
    least = [0, 1, -1, 127, 128, 255, 256, -128, -129, 1000, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]
    check(
        graph(
            f"n = Cast <to = {onnx.TensorProto.DataType.Value(name.upper())}> (x) y = Cast <to = 7> (n)",
            inputs="int64[N,1] x",
            outputs="int64[N,1] y",
        ),
        np.array(least, np.int64).reshape(-1, 1),
    )
